import type { Migration } from './index';

/**
 * Full-text search over titles and messages. Trigrams find any part of a word in every script, Chinese and Japanese
 * included. A reply enters the index when it ends, so the half-second flushes of a streaming one stay cheap.
 */
export const searchMigration: Migration = {
  version: 2,
  sql: `
    CREATE VIRTUAL TABLE chat_search USING fts5 (
      title, content = 'chats', content_rowid = 'seq', tokenize = "trigram case_sensitive 0 remove_diacritics 1"
    );
    CREATE VIRTUAL TABLE message_search USING fts5 (
      text, content = 'messages', content_rowid = 'seq', tokenize = "trigram case_sensitive 0 remove_diacritics 1"
    );

    CREATE TRIGGER chats_search_insert AFTER INSERT ON chats BEGIN
      INSERT INTO chat_search (rowid, title) VALUES (new.seq, new.title);
    END;
    CREATE TRIGGER chats_search_update AFTER UPDATE OF title ON chats BEGIN
      INSERT INTO chat_search (chat_search, rowid, title) VALUES ('delete', old.seq, old.title);
      INSERT INTO chat_search (rowid, title) VALUES (new.seq, new.title);
    END;
    CREATE TRIGGER chats_search_delete AFTER DELETE ON chats BEGIN
      INSERT INTO chat_search (chat_search, rowid, title) VALUES ('delete', old.seq, old.title);
    END;

    CREATE TRIGGER messages_search_insert AFTER INSERT ON messages WHEN new.status <> 'streaming' BEGIN
      INSERT INTO message_search (rowid, text) VALUES (new.seq, new.text);
    END;
    CREATE TRIGGER messages_search_update AFTER UPDATE OF text, status ON messages BEGIN
      INSERT INTO message_search (message_search, rowid, text)
        SELECT 'delete', old.seq, old.text WHERE old.status <> 'streaming';
      INSERT INTO message_search (rowid, text) SELECT new.seq, new.text WHERE new.status <> 'streaming';
    END;
    CREATE TRIGGER messages_search_delete AFTER DELETE ON messages WHEN old.status <> 'streaming' BEGIN
      INSERT INTO message_search (message_search, rowid, text) VALUES ('delete', old.seq, old.text);
    END;

    INSERT INTO chat_search (rowid, title) SELECT seq, title FROM chats;
    INSERT INTO message_search (rowid, text) SELECT seq, text FROM messages WHERE status <> 'streaming';
  `,
};
