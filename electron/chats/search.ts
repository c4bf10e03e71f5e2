import type { DatabaseSyncInstance } from '@photostructure/sqlite';
import type { ChatSummary } from '../contract/entities';
import { summaryFromRow, type ChatRow } from './rows';

/** More words narrow a search no further in practice, and SQLite limits the depth of an expression. */
const maxTerms = 16;
const maxResults = 200;
/** Shorter terms have no trigram: they are looked for by reading the texts. */
const trigram = 3;

/**
 * Chats, newest first, whose title or messages hold every word of the query, each anywhere and in any case.
 * Texts of replies that are still streaming are not searched.
 */
export function searchChats(db: DatabaseSyncInstance, query: string): ChatSummary[] {
  const terms = [...new Set(query.split(/\s+/).filter(Boolean))].slice(0, maxTerms);
  if (terms.length === 0) return [];
  const parameters: string[] = [];
  const conditions = terms.map((term) => {
    const indexed = [...term].length >= trigram;
    const value = indexed ? ftsPhrase(term) : likePattern(term);
    parameters.push(value, value);
    return indexed ? indexedCondition : scannedCondition;
  });
  const rows = db
    .prepare(
      `SELECT * FROM chats WHERE removed_at IS NULL AND ${conditions.join(' AND ')}
       ORDER BY updated_at DESC LIMIT ${maxResults}`,
    )
    .all(...parameters) as ChatRow[];
  return rows.map(summaryFromRow);
}

const indexedCondition = `(
  seq IN (SELECT rowid FROM chat_search WHERE chat_search MATCH ?)
  OR id IN (SELECT chat_id FROM messages WHERE seq IN (SELECT rowid FROM message_search WHERE message_search MATCH ?))
)`;

const scannedCondition = `(
  title LIKE ? ESCAPE '\\'
  OR id IN (SELECT chat_id FROM messages WHERE status <> 'streaming' AND text LIKE ? ESCAPE '\\')
)`;

/** Quoted, so that no character of it is FTS5 syntax. */
function ftsPhrase(term: string): string {
  return `"${term.replace(/"/g, '""')}"`;
}

function likePattern(term: string): string {
  return `%${term.replace(/[\\%_]/g, '\\$&')}%`;
}
