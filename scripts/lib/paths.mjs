import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The clone's root. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const inRoot = (...parts) => join(root, ...parts);

/** What each clone keeps between runs: stamps and the set-up lock. */
export const stampFolder = inRoot('.cache', 'stamps');

/** Downloads that every clone on this machine shares. */
export const sharedCache = join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'hunch');

export const isWindows = process.platform === 'win32';
export const isLinux = process.platform === 'linux';
/** Only a real root user; Windows has no uid. */
export const isRoot = process.getuid?.() === 0;
