import { existsSync } from 'node:fs';
import { exec } from '../lib/exec.mjs';
import { inRoot } from '../lib/paths.mjs';
import { hashOf, readStamp, writeStamp } from '../lib/stamps.mjs';
import { StepError } from '../lib/ui.mjs';

const viteProgram = inRoot('node_modules', 'vite', 'bin', 'vite.js');

export const renderer = {
  name: 'Window bundle',

  isDone: () => existsSync(inRoot('dist', 'renderer', 'index.html')) && readStamp('renderer') === inputs(),

  async run() {
    const hash = inputs();
    if (!existsSync(inRoot('renderer', 'index.html'))) {
      throw new StepError(
        'renderer/index.html is missing, so there is no window to build.',
        'Get the whole repository: git status shows what is missing.',
      );
    }
    try {
      // In a process of its own: Vite sets NODE_ENV for the rest of the one it runs in.
      await exec(
        process.execPath,
        [viteProgram, 'build', '--config', inRoot('vite.config.ts'), '--logLevel', 'error'],
        {
          env: { NODE_ENV: 'production' },
        },
      );
    } catch (error) {
      throw new StepError(error.message, 'Correct the source file named above.', { cause: error });
    }
    writeStamp('renderer', hash);
  },
};

function inputs() {
  return hashOf(['renderer', 'electron/contract', 'assets', 'vite.config.ts', 'package-lock.json', 'tsconfig.json']);
}
