import { randomUUID } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HunchError } from './contract/errors';

/**
 * Writes a file whole or not at all: a new file beside it takes its place once it is on the disk.
 * Errors: disk-full, internal (cannot be written), each naming the file.
 */
export function replaceFile(path: string, text: string): void {
  const partial = `${path}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    const file = openSync(partial, 'w', 0o600);
    try {
      writeFileSync(file, text);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(partial, path);
  } catch (error) {
    discard(partial);
    throw fileError(error, path);
  }
}

/**
 * The same for large contents and a place that a person chose: the file beside it has a name of its own there.
 * Errors: disk-full, internal (cannot be written), each naming the file.
 */
export async function saveFile(path: string, bytes: Uint8Array): Promise<void> {
  const partial = `${path}.${randomUUID()}.part`;
  let file: FileHandle | null = null;
  try {
    file = await open(partial, 'wx');
    await file.writeFile(bytes);
    await file.sync();
    await file.close();
    file = null;
    await rename(partial, path);
  } catch (error) {
    await file?.close().catch(() => {});
    await rm(partial, { force: true }).catch(() => {});
    throw fileError(error, path);
  }
}

/** A file that a person chose. Errors: bad-request (cannot be read, no file, more than `most` bytes), each naming it. */
export async function readLimited(path: string, most: number): Promise<Uint8Array> {
  let file: FileHandle | null = null;
  try {
    file = await open(path, 'r');
    const found = await file.stat();
    if (!found.isFile()) throw new Error('it is no file');
    if (found.size > most) {
      const [has, may] = [found.size, most].map((bytes) => Math.ceil(bytes / 2 ** 20));
      throw new Error(`it has ${has} MB, and Hunch reads at most ${may}`);
    }
    // No more than was measured, should it grow meanwhile.
    const bytes = new Uint8Array(found.size);
    if (found.size === 0) return bytes;
    const { bytesRead } = await file.read(bytes, 0, found.size, 0);
    return bytesRead === found.size ? bytes : bytes.slice(0, bytesRead);
  } catch (error) {
    const why = `${path} cannot be opened: ${(error as Error).message}. Choose another file.`;
    throw new HunchError('bad-request', why, { cause: error });
  } finally {
    await file?.close().catch(() => {});
  }
}

function discard(path: string): void {
  try {
    rmSync(path, { force: true });
  } catch {
    // The failure that led here is the one to tell.
  }
}

/** A failed write of a file, as a sentence. */
export function fileError(error: unknown, path: string): HunchError {
  const code = (error as { code?: unknown } | null)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new HunchError(
      'disk-full',
      `The disk is full, so ${path} could not be written. Free some space and try again.`,
      { cause: error },
    );
  }
  const why =
    code === 'EACCES' || code === 'EPERM' || code === 'EROFS'
      ? 'you may not write there'
      : String((error as Error)?.message ?? error);
  return new HunchError(
    'internal',
    `${path} could not be written: ${why}. Check the folder's permissions or choose another one.`,
    { cause: error },
  );
}
