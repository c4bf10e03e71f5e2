import type { DatabaseSyncInstance } from '@photostructure/sqlite';

/** Runs `work` in one transaction: all of it is committed, or nothing (also when the commit itself fails). Not nestable. */
export function transaction<T>(db: DatabaseSyncInstance, work: () => T): T {
  db.exec('BEGIN IMMEDIATE');
  try {
    const result = work();
    db.exec('COMMIT');
    return result;
  } catch (error) {
    // SQLite has rolled back by itself after a full disk or an I/O error.
    if (db.isTransaction) db.exec('ROLLBACK');
    throw error;
  }
}
