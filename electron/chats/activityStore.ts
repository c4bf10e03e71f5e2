import type { DatabaseSyncInstance, StatementSyncInstance } from '@photostructure/sqlite';
import type { ActivityToken } from '../contract/activity';
import { storageError } from './databaseErrors';
import { transaction } from './transaction';

export interface ActivityChunk {
  firstToken: number;
  tokens: ActivityToken[];
  /** Compressed (frameChunks.ts); null: none, or they had to go. */
  frames: Uint8Array | null;
}

/** Where a reply's frames come from. */
export interface ActivityOrigin {
  /** SHA-256; '' where it was not known. */
  modelHash: string;
  version: string;
}

interface Row {
  first_token: number;
  tokens: string;
  frames: Uint8Array | null;
}

/**
 * The frames kept with messages, in the chats' database. Every method is one commit; unlike the chats' own it does not wait for the
 * disk, so a power cut may take the last frames, never a text. Errors: disk-full, database-corrupt.
 */
export class ActivityStore {
  private readonly statements = new Map<string, StatementSyncInstance>();

  constructor(
    private readonly db: DatabaseSyncInstance,
    private readonly path: string,
    /** Frames of all chats together, in bytes; read at each commit. */
    private readonly mostBytes: () => number,
  ) {}

  /** Adds a chunk behind the message's others; the oldest frames of all go where there is no room. */
  append(messageId: string, { firstToken, tokens, frames }: ActivityChunk): void {
    this.write(() =>
      transaction(this.db, () => {
        const room = this.mostBytes();
        const kept = frames && frames.byteLength <= room ? frames : null;
        if (kept) this.makeRoom(room - kept.byteLength);
        this.prepare(
          `INSERT INTO activity (message_id, chunk, first_token, count, tokens, frames, bytes)
           SELECT ?, coalesce(max(chunk) + 1, 0), ?, ?, ?, ?, ? FROM activity WHERE message_id = ?`,
        ).run(
          ...[messageId, firstToken, tokens.length, JSON.stringify(tokens.map(({ id, text }) => [id, text]))],
          ...[kept, kept?.byteLength ?? 0, messageId],
        );
      }),
    );
  }

  /** Remembered once: where a continued reply began counts. */
  setOrigin(messageId: string, { modelHash, version }: ActivityOrigin): void {
    this.write(() =>
      this.prepare(
        `INSERT INTO activity_origins (message_id, model_hash, version) VALUES (?, ?, ?)
         ON CONFLICT (message_id) DO NOTHING`,
      ).run(messageId, modelHash, version),
    );
  }

  origin(messageId: string): ActivityOrigin | null {
    const row = this.guard(
      () =>
        this.prepare('SELECT model_hash, version FROM activity_origins WHERE message_id = ?').get(messageId) as
          { model_hash: string; version: string } | undefined,
    );
    return row ? { modelHash: row.model_hash, version: row.version } : null;
  }

  /** How many of the message's tokens are known. */
  count(messageId: string): number {
    const row = this.guard(
      () =>
        this.prepare('SELECT coalesce(max(first_token + count), 0) AS total FROM activity WHERE message_id = ?').get(
          messageId,
        ) as { total: number },
    );
    return Number(row.total);
  }

  /** The chunks that hold tokens [from, to), in order. */
  chunks(messageId: string, from: number, to: number): ActivityChunk[] {
    return this.guard(() =>
      (
        this.prepare(
          `SELECT first_token, tokens, frames FROM activity
           WHERE message_id = ? AND first_token < ? AND first_token + count > ? ORDER BY chunk`,
        ).all(messageId, to, from) as Row[]
      ).map((row) => ({ firstToken: row.first_token, tokens: parseTokens(row.tokens), frames: row.frames })),
    );
  }

  /** Ids of all known tokens. */
  tokenIds(messageId: string): number[] {
    return this.guard(() =>
      (
        this.prepare('SELECT tokens FROM activity WHERE message_id = ? ORDER BY chunk').all(messageId) as {
          tokens: string;
        }[]
      ).flatMap(({ tokens }) => parseTokens(tokens).map(({ id }) => id)),
    );
  }

  /** Bytes of frames kept, all chats together. */
  size(): number {
    const row = this.guard(
      () =>
        this.prepare('SELECT coalesce(sum(bytes), 0) AS total FROM activity WHERE bytes > 0').get() as {
          total: number;
        },
    );
    return Number(row.total);
  }

  close(): void {
    this.statements.clear();
  }

  private makeRoom(room: number): void {
    let over = this.size() - room;
    if (over <= 0) return;
    const oldest = this.prepare('SELECT seq, bytes FROM activity WHERE bytes > 0 ORDER BY seq LIMIT 64');
    const drop = this.prepare('UPDATE activity SET frames = NULL, bytes = 0 WHERE seq = ?');
    while (over > 0) {
      for (const { seq, bytes } of oldest.all() as { seq: number; bytes: number }[]) {
        if (over <= 0) break;
        drop.run(seq);
        over -= Number(bytes);
      }
    }
  }

  private prepare(sql: string): StatementSyncInstance {
    let statement = this.statements.get(sql);
    if (!statement) this.statements.set(sql, (statement = this.db.prepare(sql)));
    return statement;
  }

  private write(work: () => unknown): void {
    this.guard(() => {
      this.db.exec('PRAGMA synchronous = NORMAL');
      try {
        work();
      } finally {
        this.db.exec('PRAGMA synchronous = FULL');
      }
    });
  }

  private guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.path);
    }
  }
}

/** A file changed by hand gives no tokens instead of an error. */
function parseTokens(json: string): ActivityToken[] {
  try {
    const pairs = JSON.parse(json) as [number, string][];
    return pairs.map(([id, text]) => ({ id: Number(id), text: String(text) }));
  } catch {
    return [];
  }
}
