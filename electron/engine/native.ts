import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { HunchError } from '../contract/errors';
import type { NativeAddon } from './addon';

/** Where the addon may lie, first match wins: set by hand, beside the bundles, this checkout's build, a packaged app. */
function candidates(): string[] {
  const chosen = process.env['HUNCH_ADDON'];
  if (chosen) return [path.resolve(chosen)];
  const resources = (process as { resourcesPath?: string }).resourcesPath; // Electron only
  return [
    path.resolve(__dirname, '..', 'hunch.node'),
    path.resolve(__dirname, '..', '..', 'build', 'native', 'hunch.node'),
    ...(resources ? [path.join(resources, 'hunch.node')] : []),
  ];
}

let loaded: NativeAddon | undefined;

/** Loads the engine's native module once per process. Error: engine-unavailable. */
export function loadAddon(): NativeAddon {
  if (loaded) return loaded;
  const places = candidates();
  const file = places.find((place) => existsSync(place));
  if (!file) {
    throw new HunchError(
      'engine-unavailable',
      `The engine (hunch.node) is not built. Run "npm run setup" in Hunch's folder. Looked at: ${places.join(', ')}.`,
    );
  }
  try {
    loaded = createRequire(file)(file) as NativeAddon;
    return loaded;
  } catch (error) {
    throw new HunchError(
      'engine-unavailable',
      `The engine at ${file} cannot be loaded: ${(error as Error).message}. Run "npm run setup" to build it for this machine.`,
      { cause: error },
    );
  }
}
