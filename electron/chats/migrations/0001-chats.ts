import type { Migration } from './index';

/**
 * Chats and their tree of messages. `seq` orders messages within a parent and is the stable rowid that the search
 * index refers to; `id` is what the rest of the app uses. Times are ms since epoch; sampling, stats and provenance are JSON.
 */
export const chatsMigration: Migration = {
  version: 1,
  sql: `
    CREATE TABLE chats (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      title TEXT NOT NULL,
      created_at INTEGER NOT NULL,
      updated_at INTEGER NOT NULL,
      system_prompt TEXT NOT NULL,
      sampling TEXT NOT NULL,
      model_id TEXT,
      leaf_id TEXT REFERENCES messages (id) ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED,
      removed_at INTEGER
    ) STRICT;
    CREATE INDEX chats_by_update ON chats (updated_at DESC) WHERE removed_at IS NULL;

    CREATE TABLE messages (
      seq INTEGER PRIMARY KEY AUTOINCREMENT,
      id TEXT NOT NULL UNIQUE,
      chat_id TEXT NOT NULL REFERENCES chats (id) ON DELETE CASCADE,
      parent_id TEXT REFERENCES messages (id) ON DELETE CASCADE,
      role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
      text TEXT NOT NULL,
      status TEXT NOT NULL CHECK (status IN ('streaming', 'complete', 'stopped', 'interrupted', 'failed')),
      error_code TEXT,
      error_message TEXT,
      created_at INTEGER NOT NULL,
      stats TEXT,
      provenance TEXT
    ) STRICT;
    CREATE INDEX messages_by_chat ON messages (chat_id, seq);
    CREATE INDEX messages_by_parent ON messages (parent_id);
    CREATE INDEX messages_streaming ON messages (id) WHERE status = 'streaming';
    CREATE INDEX chats_by_leaf ON chats (leaf_id);
  `,
};
