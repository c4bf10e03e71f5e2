import { existsSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type DatabaseSyncInstance } from '@photostructure/sqlite';
import { HunchError, type ErrorBody } from '../contract/errors';
import { isDamaged, sqliteCorrupt, storageError } from './databaseErrors';
import { migrate, schemaVersion, userVersion } from './migrations';
import { scalar } from './scalar';

export interface OpenedDatabase {
  db: DatabaseSyncInstance;
  /** Set when a damaged file was kept aside and an empty database begun. */
  notice: ErrorBody | null;
}

/**
 * Opens (or creates) the chat database and brings it to this build's schema.
 * Errors: database-newer (the file is left as it is), disk-full, internal (cannot be opened).
 */
export function openDatabase(path: string, now: () => Date = () => new Date()): OpenedDatabase {
  try {
    mkdirSync(dirname(path), { recursive: true });
    return { db: openChecked(path), notice: null };
  } catch (error) {
    if (!isDamaged(error)) throw describeOpenError(error, path);
    const aside = setAside(path, now());
    return {
      db: openChecked(path),
      notice: {
        code: 'database-corrupt',
        message: `The chat database was damaged and could not be read. Hunch kept it as ${aside} and started an empty one. A copy of hunch.db from a backup can take its place while Hunch is closed.`,
      },
    };
  }
}

function openChecked(path: string): DatabaseSyncInstance {
  const uncleanExit = hasContent(`${path}-wal`);
  if (hasContent(path)) refuseNewer(path);
  const db = new DatabaseSync(path, { timeout: 5000 });
  try {
    // After a crash a full check is worth its time; a clean file only has its schema read.
    if (uncleanExit) checkIntegrity(db);
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;');
    migrate(db);
    // Touches both tables: damage there is better met now than in the middle of a reply.
    scalar(db, 'max(seq)', 'FROM chats');
    scalar(db, 'max(seq)', 'FROM messages');
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/** Looks through a read-only connection: a file of a newer Hunch must not be changed in any way. */
function refuseNewer(path: string): void {
  const db = new DatabaseSync(path, { readOnly: true });
  try {
    const version = userVersion(db);
    if (version <= schemaVersion) return;
    throw new HunchError(
      'database-newer',
      `The chats in ${path} were written by a newer version of Hunch (format ${version}; this one knows ${schemaVersion}). Install the newer version to open them. The file was not changed.`,
    );
  } finally {
    db.close();
  }
}

function checkIntegrity(db: DatabaseSyncInstance): void {
  const verdict = scalar(db, 'quick_check', 'FROM pragma_quick_check LIMIT 1');
  if (verdict !== 'ok') throw Object.assign(new Error(String(verdict)), { errcode: sqliteCorrupt });
}

/** Renames the database with its side files; they belong together if someone tries to rescue it. */
function setAside(path: string, at: Date): string {
  const stamp = at.toISOString().replace(/[:.]/g, '-');
  const aside = `${path}.damaged-${stamp}`;
  for (const suffix of ['', '-wal', '-shm']) {
    if (existsSync(path + suffix)) renameSync(path + suffix, aside + suffix);
  }
  return aside;
}

function hasContent(path: string): boolean {
  return (statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

function describeOpenError(error: unknown, path: string): unknown {
  const known = storageError(error, path);
  if (known instanceof HunchError) return known;
  const why = error instanceof Error ? error.message : String(error);
  return new HunchError(
    'internal',
    `The chat database ${path} cannot be opened (${why}). Check that the folder exists and that you may write to it.`,
    { cause: error },
  );
}

/** Closes so that nothing is left in the write-ahead log: that is how the next start knows a clean exit. */
export function closeDatabase(db: DatabaseSyncInstance): void {
  try {
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  } finally {
    db.close();
  }
}
