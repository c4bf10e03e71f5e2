import react from '@vitejs/plugin-react';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The window's page. Chromium 108 is the oldest runtime that development uses. */
export default defineConfig({
  root: at('renderer'),
  base: './', // loaded from a file, not from a server's root
  plugins: [react()],
  resolve: {
    // rehype-katex's browser build parses KaTeX's markup with DOMParser, where the page's policy refuses inline styles (and
    // logs each one). The other build of the same function uses parse5 and no document.
    alias: {
      'hast-util-from-html-isomorphic': at('node_modules/hast-util-from-html-isomorphic/index.js'),
    },
  },
  build: {
    outDir: at('dist/renderer'),
    emptyOutDir: true,
    target: 'chrome108',
    cssTarget: 'chrome108',
    sourcemap: true,
    assetsInlineLimit: 0, // the policy allows fonts from 'self' only, not from data: URLs
    chunkSizeWarningLimit: 2000,
  },
});
