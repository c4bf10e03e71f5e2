import type { Migration } from './index';

/** Where a chat's slider stands, as JSON. Chats from before have none of its keys, so they read as the app's default. */
export const sparsityMigration: Migration = {
  version: 3,
  sql: `ALTER TABLE chats ADD COLUMN sparsity TEXT NOT NULL DEFAULT '{}';`,
};
