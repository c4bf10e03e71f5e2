import { randomUUID } from 'node:crypto';
import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import type { Chat, ChatSummary, ChatWithMessages, Message, Sampling } from '../contract/entities';
import { HunchError } from '../contract/errors';
import type { Sparsity } from '../contract/sparsity';
import { closeDatabase } from './database';
import { storageError } from './databaseErrors';
import { chatFromRow, messageFromRow, summaryFromRow, type ChatRow, type MessageRow } from './rows';
import { searchChats } from './search';
import { transaction } from './transaction';
import { branchTo, newestLeaf, siblingsOf, type Node } from './tree';

export const untitled = 'New chat';

export interface NewMessage extends Pick<Message, 'id' | 'parentId' | 'role' | 'text' | 'status' | 'provenance'> {}

export type MessageChange = Partial<Pick<Message, 'text' | 'status' | 'error' | 'stats' | 'provenance'>>;

export type ChatChange = Partial<Pick<Chat, 'title' | 'systemPrompt' | 'sampling' | 'sparsity' | 'modelId' | 'leafId'>>;

/**
 * Chats and messages in SQLite. Every method is one commit (`synchronous=FULL`: on the disk when it returns).
 * Errors: not-found, disk-full, database-corrupt.
 */
export class ChatStore {
  private readonly statements = new Map<string, StatementSyncInstance>();

  constructor(
    private readonly db: DatabaseSyncInstance,
    private readonly path: string,
    private readonly now: () => number = Date.now,
  ) {}

  /** What a start does once: removed chats go for good, replies cut off by a crash are marked. */
  settle(): void {
    this.write(() => {
      this.prepare('DELETE FROM chats WHERE removed_at IS NOT NULL').run();
      this.prepare(`UPDATE messages SET status = 'interrupted' WHERE status = 'streaming'`).run();
    });
  }

  /** Newest first. */
  list(): ChatSummary[] {
    return this.read(() =>
      (
        this.prepare(
          'SELECT * FROM chats WHERE removed_at IS NULL ORDER BY updated_at DESC, seq DESC',
        ).all() as ChatRow[]
      ).map(summaryFromRow),
    );
  }

  search(query: string): ChatSummary[] {
    return this.read(() => searchChats(this.db, query));
  }

  create(defaults: { systemPrompt: string; sampling: Sampling; sparsity: Sparsity }): Chat {
    const id = randomUUID();
    const at = this.now();
    this.write(() =>
      this.prepare(
        `INSERT INTO chats (id, title, created_at, updated_at, system_prompt, sampling, sparsity)
         VALUES (?, ?, ?, ?, ?, ?, ?)`,
      ).run(
        ...[id, untitled, at, at, defaults.systemPrompt],
        ...[JSON.stringify(defaults.sampling), JSON.stringify(defaults.sparsity)],
      ),
    );
    return this.chat(id);
  }

  /** A chat that is not removed. */
  chat(chatId: string): Chat {
    return chatFromRow(this.read(() => this.chatRow(chatId)));
  }

  /** The chat with the branch that ends in its leaf. */
  withMessages(chatId: string): ChatWithMessages {
    return this.read(() => {
      const chat = chatFromRow(this.chatRow(chatId));
      return { ...chat, messages: this.branch(chatId, chat.leafId) };
    });
  }

  /** All messages of all branches, in order of creation. */
  allMessages(chatId: string): Message[] {
    return this.read(() => {
      this.chatRow(chatId);
      const rows = this.prepare('SELECT * FROM messages WHERE chat_id = ? ORDER BY seq').all(chatId) as MessageRow[];
      const siblings = siblingsOf(rows);
      return rows.map((row) => messageFromRow(row, siblings(row)));
    });
  }

  /** Messages from the first one to this one. */
  branch(chatId: string, leafId: string | null): Message[] {
    return this.read(() => {
      const nodes = this.nodes(chatId);
      const siblings = siblingsOf(nodes);
      const select = this.prepare('SELECT * FROM messages WHERE id = ?');
      return branchTo(nodes, leafId).map((id) => {
        const row = select.get(id) as MessageRow;
        return messageFromRow(row, siblings(row));
      });
    });
  }

  message(messageId: string): Message | null {
    return this.read(() => {
      const row = this.prepare('SELECT * FROM messages WHERE id = ?').get(messageId) as MessageRow | undefined;
      return row ? messageFromRow(row, siblingsOf(this.nodes(row.chat_id))(row)) : null;
    });
  }

  change(chatId: string, change: ChatChange): Chat {
    this.write(() => this.changeChat(chatId, change));
    return this.chat(chatId);
  }

  remove(chatId: string): void {
    this.write(() => {
      this.chatRow(chatId);
      this.prepare('UPDATE chats SET removed_at = ? WHERE id = ?').run(this.now(), chatId);
    });
  }

  restore(chatId: string): Chat {
    this.write(() => {
      const { changes } = this.prepare('UPDATE chats SET removed_at = NULL WHERE id = ?').run(chatId);
      if (Number(changes) === 0) throw chatNotFound();
    });
    return this.chat(chatId);
  }

  /** Makes the branch through this message the one that is shown. */
  showBranch(chatId: string, messageId: string): ChatWithMessages {
    this.write(() => {
      const nodes = this.nodes(chatId);
      if (!nodes.some((node) => node.id === messageId)) throw messageNotFound();
      this.changeChat(chatId, { leafId: newestLeaf(nodes, messageId) });
    });
    return this.withMessages(chatId);
  }

  /** Adds messages below one another's `parentId`, shows the branch that ends in the last, and moves the chat to the top. */
  append(chatId: string, messages: NewMessage[], title?: string): Message[] {
    this.write(() => {
      const insert = this.prepare(
        `INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at, provenance)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      );
      for (const { id, parentId, role, text, status, provenance } of messages) {
        insert.run(id, chatId, parentId, role, text, status, this.now(), jsonOrNull(provenance));
      }
      this.changeChat(chatId, { leafId: messages.at(-1)?.id, ...(title === undefined ? {} : { title }) });
      this.touch(chatId);
    });
    return messages.map(({ id }) => this.message(id)!);
  }

  /** A message of a removed chat may still change: its reply was streaming when the chat was removed. */
  changeMessage(messageId: string, change: MessageChange): void {
    const columns: Record<string, unknown> = {};
    if (change.text !== undefined) columns.text = change.text;
    if (change.status !== undefined) columns.status = change.status;
    if (change.stats !== undefined) columns.stats = jsonOrNull(change.stats);
    if (change.provenance !== undefined) columns.provenance = jsonOrNull(change.provenance);
    if (change.error !== undefined) {
      columns.error_code = change.error?.code ?? null;
      columns.error_message = change.error?.message ?? null;
    }
    this.write(() => {
      if (this.update('messages', messageId, columns) === 0) throw messageNotFound();
    });
  }

  close(): void {
    this.statements.clear();
    closeDatabase(this.db);
  }

  private changeChat(chatId: string, change: ChatChange): void {
    this.chatRow(chatId);
    const columns: Record<string, unknown> = {};
    if (change.title !== undefined) columns.title = change.title;
    if (change.systemPrompt !== undefined) columns.system_prompt = change.systemPrompt;
    if (change.sampling !== undefined) columns.sampling = JSON.stringify(change.sampling);
    if (change.sparsity !== undefined) columns.sparsity = JSON.stringify(change.sparsity);
    if (change.modelId !== undefined) columns.model_id = change.modelId;
    if (change.leafId !== undefined) columns.leaf_id = change.leafId;
    this.update('chats', chatId, columns);
  }

  private touch(chatId: string): void {
    this.prepare('UPDATE chats SET updated_at = ? WHERE id = ?').run(this.now(), chatId);
  }

  /** Column names come from this file only. Returns the number of rows changed. */
  private update(table: 'chats' | 'messages', id: string, columns: Record<string, unknown>): number {
    const names = Object.keys(columns);
    if (names.length === 0) return 1;
    const assignments = names.map((name) => `${name} = ?`).join(', ');
    return Number(
      this.prepare(`UPDATE ${table} SET ${assignments} WHERE id = ?`).run(...Object.values(columns), id).changes,
    );
  }

  private chatRow(chatId: string): ChatRow {
    const row = this.prepare('SELECT * FROM chats WHERE id = ? AND removed_at IS NULL').get(chatId);
    if (row === undefined) throw chatNotFound();
    return row as ChatRow;
  }

  private nodes(chatId: string): Node[] {
    return this.prepare('SELECT id, parent_id, role FROM messages WHERE chat_id = ? ORDER BY seq').all(
      chatId,
    ) as Node[];
  }

  /** Kept: a statement is freed only by garbage collection, so making one per call would pile them up. */
  private prepare(sql: string): StatementSyncInstance {
    let statement = this.statements.get(sql);
    if (!statement) {
      statement = this.db.prepare(sql);
      this.statements.set(sql, statement);
    }
    return statement;
  }

  private read<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.path);
    }
  }

  private write<T>(work: () => T): T {
    return this.read(() => transaction(this.db, work));
  }
}

function chatNotFound(): HunchError {
  return new HunchError('not-found', 'This chat does not exist any more. Choose another one in the sidebar.');
}

function messageNotFound(): HunchError {
  return new HunchError('not-found', 'This message does not exist in this chat. Open the chat again.');
}

function jsonOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : JSON.stringify(value);
}
