import react from '@vitejs/plugin-react';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const at = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** The window's page. Chromium 108 is the oldest runtime that development uses. */
export default defineConfig({
  root: at('renderer'),
  base: './', // loaded from a file, not from a server's root
  plugins: [react()],
  build: {
    outDir: at('dist/renderer'),
    emptyOutDir: true,
    target: 'chrome108',
    cssTarget: 'chrome108',
    sourcemap: true,
    chunkSizeWarningLimit: 2000,
  },
});
