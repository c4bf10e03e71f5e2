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
  const refuse = (why: string, cause?: unknown): never => {
    throw new HunchError('bad-request', `${path} cannot be opened: ${why}. Choose another file.`, { cause });
  };
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    return refuse(String((error as Error).message), error);
  }
  try {
    const { size, isFile } = await file.stat().then((found) => ({ size: found.size, isFile: found.isFile() }));
    if (!isFile) return refuse('it is no file');
    if (size > most) return refuse(`it has ${Math.ceil(size / 2 ** 20)} MB, and Hunch reads at most ${most / 2 ** 20}`);
    // No more than was measured, should it grow meanwhile.
    const bytes = new Uint8Array(size);
    if (size === 0) return bytes;
    const { bytesRead } = await file.read(bytes, 0, size, 0);
    return bytesRead === size ? bytes : bytes.slice(0, bytesRead);
  } catch (error) {
    return error instanceof HunchError ? Promise.reject(error) : refuse(String((error as Error).message), error);
  } finally {
    await file.close().catch(() => {});
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
