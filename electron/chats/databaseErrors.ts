import { HunchError } from '../contract/errors';

const sqliteFull = 13;
const sqliteIoError = 10;
export const sqliteCorrupt = 11;
const sqliteNotADatabase = 26;

/** SQLite's primary result code; undefined for other errors. */
export function sqliteCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
}

export function isDamaged(error: unknown): boolean {
  const code = sqliteCode(error);
  return code === sqliteCorrupt || code === sqliteNotADatabase;
}

function isDiskFull(error: unknown): boolean {
  const system = (error as { code?: unknown } | null)?.code;
  return sqliteCode(error) === sqliteFull || system === 'ENOSPC' || system === 'EDQUOT';
}

/** Turns a storage failure into an error a person can act on; others pass through unchanged. */
export function storageError(error: unknown, path: string): unknown {
  if (error instanceof HunchError) return error;
  if (isDiskFull(error)) {
    return new HunchError(
      'disk-full',
      `The disk that holds ${path} is full, so this could not be saved. Free some space and try again; nothing you typed is lost while Hunch stays open.`,
      { cause: error },
    );
  }
  if (isDamaged(error)) {
    return new HunchError(
      'database-corrupt',
      `The chat database ${path} is damaged. Restart Hunch: it keeps the damaged file aside and goes on with an empty one.`,
      { cause: error },
    );
  }
  if (sqliteCode(error) === sqliteIoError) {
    return new HunchError(
      'internal',
      `The chat database ${path} could not be read or written (disk error). Check that its disk is connected, writable and not full.`,
      { cause: error },
    );
  }
  return error;
}
