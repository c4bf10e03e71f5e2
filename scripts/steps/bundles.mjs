import { existsSync } from 'node:fs';
import { inRoot } from '../lib/paths.mjs';
import { hashOf, readStamp, writeStamp } from '../lib/stamps.mjs';
import { StepError } from '../lib/ui.mjs';

const outFolder = 'dist/electron';

/** Electron 22, the oldest runtime that development uses, carries Node 16; the CLI runs in the system's Node. */
const entries = [
  { from: 'electron/main.ts', to: 'main.cjs', target: 'node16' },
  { from: 'electron/preload.ts', to: 'preload.cjs', target: 'node16', sandboxed: true },
  { from: 'electron/engine/worker.ts', to: 'worker.cjs', target: 'node16' },
  { from: 'electron/cli/main.ts', to: 'cli.cjs', target: 'node20' },
  { from: 'electron/paths.ts', to: 'paths.cjs', target: 'node20' }, // for the set-up itself: where the models lie
];

/** Packages with native code, which cannot be bundled. */
const external = ['electron', 'tokenizers', '@photostructure/sqlite', 'onnxruntime-node', '*.node'];

export const bundles = {
  name: 'Program bundles',

  isDone: () => entries.every((entry) => existsSync(inRoot(outFolder, entry.to))) && readStamp('bundles') === inputs(),

  async run() {
    const hash = inputs();
    const absent = entries.filter((entry) => !existsSync(inRoot(entry.from)));
    if (absent.length > 0) {
      throw new StepError(
        `Source files are missing: ${absent.map((entry) => entry.from).join(', ')}.`,
        'Get the whole repository: git status shows what is missing.',
      );
    }
    const esbuild = await import('esbuild');
    try {
      await Promise.all(entries.map((entry) => esbuild.build(optionsOf(entry))));
    } catch (error) {
      const messages = await esbuild.formatMessages(error.errors ?? [], { kind: 'error', terminalWidth: 100 });
      throw new StepError(messages.join('').trim() || error.message, 'Correct the source file named above.', {
        cause: error,
      });
    }
    writeStamp('bundles', hash);
  },
};

function optionsOf({ from, to, target, sandboxed }) {
  return {
    absWorkingDir: inRoot(),
    entryPoints: [from],
    outfile: `${outFolder}/${to}`,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target,
    external,
    sourcemap: true,
    logLevel: 'silent',
    // CommonJS has no import.meta; a sandboxed preload has no node:url to make one with.
    ...(sandboxed
      ? {}
      : {
          define: { 'import.meta.url': '__bundleUrl', 'import.meta.dirname': '__dirname' },
          banner: { js: "const __bundleUrl = require('node:url').pathToFileURL(__filename).href;" },
        }),
  };
}

function inputs() {
  return hashOf([
    'electron',
    'assets',
    'package.json',
    'package-lock.json',
    'tsconfig.json',
    'scripts/steps/bundles.mjs',
  ]);
}
