// `npm run dist [-- targets]`: builds and packages Hunch for this system, e.g. `npm run dist -- --linux dir`.
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { attach } from './lib/exec.mjs';
import { findElectron, npmElectronVersion } from './lib/electron-runtime.mjs';
import { inRoot } from './lib/paths.mjs';
import { runSteps } from './lib/run-steps.mjs';
import { say } from './lib/ui.mjs';
import { buildSteps } from './steps/index.mjs';
import { electronRuntime } from './steps/electron-runtime.mjs';

process.exitCode = (await runSteps([...buildSteps(), electronRuntime])) ? await pack() : 1;

function pack() {
  const runtime = findElectron();
  const version = npmElectronVersion();
  const args = [...process.argv.slice(2), '--publish', 'never'];
  // electron-builder would download the same Electron again.
  if (runtime.source !== 'npm' || runtime.version === version) {
    args.push(`--config.electronDist=${withoutLoader(runtime)}`, `--config.electronVersion=${runtime.version}`);
  }
  if (runtime.version !== version) {
    say(
      `This package carries Electron ${runtime.version} instead of ${version}: for trying out only, do not hand it on.`,
    );
  }
  return attach(process.execPath, [inRoot('node_modules', 'electron-builder', 'cli.js'), ...args]);
}

/** The stand-in Electron holds a loader for development, which must not take the packaged app's place. */
function withoutLoader(runtime) {
  if (runtime.source !== 'wheel') return runtime.folder;
  const copy = inRoot('.cache', 'electron-dist');
  rmSync(copy, { recursive: true, force: true });
  cpSync(runtime.folder, copy, {
    recursive: true,
    filter: (source) => source !== join(runtime.folder, 'resources', 'app'),
  });
  return copy;
}
