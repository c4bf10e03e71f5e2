import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import { scalar } from '../scalar';
import { transaction } from '../transaction';
import { chatsMigration } from './0001-chats';
import { searchMigration } from './0002-search';
import { sparsityMigration } from './0003-sparsity';
import { activityMigration } from './0004-activity';

/** One step of the schema. A released migration is never edited: a change is a new one. */
export interface Migration {
  /** `user_version` after it has run. */
  version: number;
  sql: string;
}

export const migrations: readonly Migration[] = [chatsMigration, searchMigration, sparsityMigration, activityMigration];

/** What this build writes. */
export const schemaVersion = migrations.length;

export function userVersion(db: DatabaseSyncInstance): number {
  return Number(scalar(db, 'user_version', 'FROM pragma_user_version'));
}

/** Brings the database up to `target`. Each step and its version number commit together, so a crash between steps is harmless. */
export function migrate(db: DatabaseSyncInstance, target: number = schemaVersion): void {
  for (const { version, sql } of migrations) {
    if (version > target || version <= userVersion(db)) continue;
    transaction(db, () => {
      db.exec(sql);
      db.exec(`PRAGMA user_version = ${version}`);
    });
  }
}
