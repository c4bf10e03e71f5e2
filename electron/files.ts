import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
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
