import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';

/** What decides where files lie; the defaults are this process's own. */
export interface Surroundings {
  env: NodeJS.ProcessEnv;
  platform: NodeJS.Platform;
  home: string;
}

function here(): Surroundings {
  return { env: process.env, platform: process.platform, home: homedir() };
}

/** Chats, settings and models live under this folder. $HUNCH_HOME wins; else the platform's place for application data. */
export function dataFolder({ env, platform, home }: Surroundings = here()): string {
  if (env['HUNCH_HOME']) return path.resolve(env['HUNCH_HOME']);
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support', 'Hunch');
  if (platform === 'win32') return path.join(env['APPDATA'] ?? path.join(home, 'AppData', 'Roaming'), 'Hunch');
  return path.join(env['XDG_DATA_HOME'] || path.join(home, '.local', 'share'), 'hunch');
}

/** Model files. $HUNCH_MODELS wins, so that several data folders can share one set of large files. */
export function modelsFolder(surroundings: Surroundings = here()): string {
  const chosen = surroundings.env['HUNCH_MODELS'];
  return chosen ? path.resolve(chosen) : path.join(dataFolder(surroundings), 'models');
}

/** Models that come with Hunch: beside a packaged app's resources, else in this checkout. Read only. */
export function embeddedModelsFolder(): string {
  const resources = (process as { resourcesPath?: string }).resourcesPath; // Electron only
  const packaged = resources ? path.join(resources, 'models') : '';
  // From dist/electron (bundled) and from electron/ (tests) the checkout's root is up to two levels away.
  const checkout = [
    path.resolve(__dirname, '..', 'assets', 'models'),
    path.resolve(__dirname, '..', '..', 'assets', 'models'),
  ];
  return [packaged, ...checkout].find((folder) => folder && existsSync(folder)) ?? checkout[1]!;
}
