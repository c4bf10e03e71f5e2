import { lstat, open, readdir, rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';

/** Where an old pack waits while a new one takes its place. */
export const retired = (place: string): string => `${place}.old`;
export const unfinished = (place: string): string => `${place}.new-`;
const leftoverMs = 60 * 60 * 1000; // no pack takes an hour to write

/** A folder cannot replace another one in one step: the old pack steps aside first, where findPack still sees it. */
export async function takePlace(work: string, place: string): Promise<void> {
  const aside = retired(place);
  for (let attempt = 1; ; attempt++) {
    if (await lstat(place).catch(() => null)) {
      await rm(aside, { recursive: true, force: true });
      await rename(place, aside).catch(missing);
    }
    try {
      await rename(work, place);
      break;
    } catch (error) {
      // Another process may have put its pack there in between.
      if (attempt === 3) {
        await rename(aside, place).catch(() => {});
        throw error;
      }
    }
  }
  await rm(aside, { recursive: true, force: true });
}

function missing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

export async function removeLeftovers(place: string): Promise<void> {
  const folder = path.dirname(place);
  const prefix = path.basename(unfinished(place));
  for (const name of await readdir(folder)) {
    if (!name.startsWith(prefix)) continue;
    const left = path.join(folder, name);
    const info = await stat(left).catch(() => null);
    if (info && Date.now() - info.mtimeMs > leftoverMs) await rm(left, { recursive: true, force: true });
  }
}

export async function writeWhole(file: string, data: string | Uint8Array): Promise<void> {
  const handle = await open(file, 'wx');
  try {
    await handle.writeFile(data);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Windows cannot open folders; there the file system's own journal has to do. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => null);
  await handle?.sync().catch(() => {});
  await handle?.close();
}
