import type { Migration } from './index';

/**
 * What a reply's tokens needed (contract/activity.ts): chunks of at most 64 tokens, in `seq` from oldest to newest. `tokens` is JSON,
 * [[id, text], …]; `frames` one compressed run of them (frameChunks.ts), null once room was needed; `bytes` its length.
 */
export const activityMigration: Migration = {
  version: 4,
  sql: `
    CREATE TABLE activity (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      message_id TEXT NOT NULL REFERENCES messages (id) ON DELETE CASCADE,
      chunk INTEGER NOT NULL,
      first_token INTEGER NOT NULL,
      count INTEGER NOT NULL,
      tokens TEXT NOT NULL,
      frames BLOB,
      bytes INTEGER NOT NULL,
      UNIQUE (message_id, chunk)
    ) STRICT;
    CREATE INDEX activity_kept ON activity (seq, bytes) WHERE bytes > 0;

    CREATE TABLE activity_origins (
      message_id TEXT PRIMARY KEY REFERENCES messages (id) ON DELETE CASCADE,
      model_hash TEXT NOT NULL,
      version TEXT NOT NULL
    ) STRICT;
  `,
};
