import { maxReplyChunk, type ActivityToken } from '../contract/activity';
import type { ErrorBody } from '../contract/errors';
import type { FramesProgress } from '../engine/activityTrail';
import { errorBody } from '../errorBody';
import type { ActivityStore } from './activityStore';
import { chunkTokens, packFrames, packFramesNow, unpackFrames } from './frameChunks';

export interface KeptActivityOptions {
  store: ActivityStore;
  /** The version of Hunch that writes. */
  version: string;
  /** SHA-256 of a model's file, '' unless it is loaded; takes seconds for a large one. */
  modelHash(modelId: string): Promise<string>;
  /** Frames are no longer kept; told once until they are again. */
  onProblem(problem: ErrorBody): void;
  log(line: string): void;
}

interface Chunk {
  firstToken: number;
  tokens: ActivityToken[];
  frames: (Uint8Array | null)[];
  /** Full, or the run has ended: it takes no more. */
  closed: boolean;
}

interface Live {
  modelId: string;
  /** Index in the message of the run's first token. */
  first: number;
  /** Not on the disk yet; all but the last one are closed. */
  chunks: Chunk[];
  /** Chunks are packed and saved in turn. */
  saving: Promise<void>;
  /** The disk is full: the rest of this reply is not kept. */
  dropped: boolean;
  /** Nothing more comes; a reply that is continued sets it back. */
  ended: boolean;
  /** There were frames in this run. */
  watched: boolean;
}

/**
 * Keeps frames with their messages while these are written. It never holds up the text, and what goes wrong here never ends a reply.
 */
export class KeptActivity {
  private readonly live = new Map<string, Live>();
  private told = false;

  constructor(private readonly options: KeptActivityOptions) {}

  /** Index of the first token that will be written to this message. */
  begin(messageId: string, modelId: string): number {
    let first = 0;
    try {
      first = this.total(messageId);
    } catch (error) {
      this.fail(error);
    }
    const fresh = { chunks: [], saving: Promise.resolve() };
    const again = { modelId, first, dropped: false, ended: false, watched: false };
    // A continued reply may still be saving its first part.
    this.live.set(messageId, Object.assign(this.live.get(messageId) ?? { ...fresh, ...again }, again));
    return first;
  }

  add(messageId: string, { from, tokens, frames }: FramesProgress): void {
    const live = this.live.get(messageId);
    if (!live || live.dropped) return;
    for (const [i, token] of tokens.entries()) {
      const firstToken = live.first + from + i;
      let open = live.chunks[live.chunks.length - 1];
      if (!open || open.closed) live.chunks.push((open = { firstToken, tokens: [], frames: [], closed: false }));
      open.tokens.push(token);
      open.frames.push(frames[i] ?? null);
      if (open.tokens.length === chunkTokens) this.save(messageId, live, open);
    }
  }

  /** The reply is over; resolves when its frames are on the disk. */
  async end(messageId: string): Promise<void> {
    const live = this.live.get(messageId);
    if (!live) return;
    const open = live.chunks[live.chunks.length - 1];
    if (open && !open.closed) this.save(messageId, live, open);
    live.ended = true;
    await live.saving;
    if (live.ended && this.live.get(messageId) === live) this.live.delete(messageId);
    if (live.watched && !live.dropped) await this.keepOrigin(messageId, live.modelId);
  }

  /** The app is closing: what there is goes to the disk at once. */
  endAll(): void {
    for (const [messageId, live] of this.live) {
      for (const chunk of live.chunks) {
        try {
          if (!live.dropped) this.append(messageId, chunk, packFramesNow(chunk.frames));
        } catch (error) {
          this.options.log(`activity: frames of ${messageId} not kept: ${String(error)}`);
        }
      }
      live.chunks = [];
      live.dropped = true;
    }
    this.live.clear();
  }

  /** How many of the message's tokens are known. */
  total(messageId: string): number {
    const live = this.live.get(messageId);
    const last = live?.chunks[live.chunks.length - 1];
    return Math.max(this.options.store.count(messageId), last ? last.firstToken + last.tokens.length : 0);
  }

  /** Ids of all known tokens, in order. */
  tokenIds(messageId: string): number[] {
    const waiting = (this.live.get(messageId)?.chunks ?? []).flatMap(({ tokens }) => tokens.map(({ id }) => id));
    return [...this.options.store.tokenIds(messageId), ...waiting];
  }

  /** Tokens [from, from + count) that are known, with their frames. */
  async part(
    messageId: string,
    from: number,
    count: number,
  ): Promise<{ tokens: ActivityToken[]; frames: (Uint8Array | null)[] }> {
    const to = from + Math.min(count, maxReplyChunk);
    // Both at once: a chunk moves from one to the other in between.
    const kept = this.options.store.chunks(messageId, from, to);
    const waiting = [...(this.live.get(messageId)?.chunks ?? [])].map(({ firstToken, tokens, frames }) => ({
      firstToken,
      tokens: [...tokens],
      frames: [...frames],
    }));
    const unpacked: Omit<Chunk, 'closed'>[] = [];
    for (const { frames, ...chunk } of kept) {
      unpacked.push({ ...chunk, frames: await unpackFrames(frames, chunk.tokens.length) });
    }
    const part: { tokens: ActivityToken[]; frames: (Uint8Array | null)[] } = { tokens: [], frames: [] };
    for (const { firstToken, tokens, frames } of [...unpacked, ...waiting]) {
      const begin = Math.max(from - firstToken, 0);
      const end = Math.max(to - firstToken, 0);
      part.tokens.push(...tokens.slice(begin, end));
      part.frames.push(...frames.slice(begin, end));
    }
    return part;
  }

  private save(messageId: string, live: Live, chunk: Chunk): void {
    chunk.closed = true;
    live.watched = true;
    live.saving = live.saving.then(async () => {
      try {
        if (live.dropped) return;
        const frames = await packFrames(chunk.frames);
        // Saved by endAll meanwhile, or the disk became full.
        if (live.dropped) return;
        this.append(messageId, chunk, frames);
        live.chunks = live.chunks.filter((one) => one !== chunk);
        this.told = false;
      } catch (error) {
        live.dropped = true;
        live.chunks = [];
        this.fail(error);
      }
    });
  }

  private append(messageId: string, { firstToken, tokens }: Chunk, frames: Uint8Array | null): void {
    this.options.store.append(messageId, { firstToken, tokens, frames });
  }

  private async keepOrigin(messageId: string, modelId: string): Promise<void> {
    const { store, version, log } = this.options;
    try {
      if (store.origin(messageId)) return;
      const modelHash = await this.options.modelHash(modelId).catch(() => '');
      store.setOrigin(messageId, { modelHash, version });
    } catch (error) {
      log(`activity: the origin of ${messageId} is not kept: ${String(error)}`);
    }
  }

  private fail(error: unknown): void {
    const { message, code } = errorBody(error, this.options.log);
    if (this.told) return;
    this.told = true;
    const why =
      code === 'disk-full'
        ? 'The disk is full, so what the model computes is not kept with this reply any more. The reply itself goes on; free some space.'
        : `What the model computes is not kept with this reply any more. ${message}`;
    this.options.onProblem({ code, message: why });
  }
}
