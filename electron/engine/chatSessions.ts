import { totalmem } from 'node:os';
import type { Capture } from '../contract/activity';
import { HunchError } from '../contract/errors';
import type { Sparsity } from '../contract/sparsity';
import type { PromptEncoder } from '../models/prompt';
import { PromptMemory } from '../models/prompt';
import type { ModelSpec, NativeModel, NativeSession } from './addon';
import { fromNative } from './nativeError';

/** One chat's KV cache, and how its text was tokenised. */
export interface ChatSession {
  native: NativeSession;
  memory: PromptMemory;
  busy: boolean;
  /** Null = dense. */
  sparsity: Sparsity | null;
  /** What its decode steps note down. */
  capture: Capture;
}

const mostSessions = 4;
const mostBytes = 2 ** 30;

/** How many KV caches of this size to keep: f16 keys and values, within 1 GiB and an eighth of the memory. */
function keep(spec: ModelSpec, contextLength: number): number {
  const bytes = 2 * 2 * spec.layers * spec.kvHeads * spec.headWidth * contextLength;
  return Math.min(Math.max(Math.floor(Math.min(mostBytes, totalmem() / 8) / bytes), 1), mostSessions);
}

/** KV caches by chat, the least recently used dropped first. A chat that replies is never dropped. */
export class ChatSessions {
  /** A Map keeps its order, so the first entry is the least recently used. */
  private readonly sessions = new Map<string, ChatSession>();
  private readonly limit: number;

  constructor(
    private readonly model: NativeModel,
    private readonly encoder: PromptEncoder,
    spec: ModelSpec,
    private readonly contextLength: number,
  ) {
    this.limit = keep(spec, contextLength);
  }

  /** The chat's session, marked busy until `release`. Errors: busy, out-of-memory. */
  acquire(chatKey: string): ChatSession {
    let session = this.sessions.get(chatKey);
    if (session?.busy) {
      throw new HunchError('busy', 'This chat is still being replied to. Wait for the reply or stop it first.');
    }
    this.sessions.delete(chatKey);
    session ??= this.create();
    session.busy = true;
    this.sessions.set(chatKey, session);
    return session;
  }

  get(chatKey: string): ChatSession | undefined {
    return this.sessions.get(chatKey);
  }

  /** By chat. */
  all(): Iterable<[string, ChatSession]> {
    return this.sessions;
  }

  release(session: ChatSession): void {
    session.busy = false;
    this.shrink(this.limit);
  }

  forget(chatKey: string): void {
    const session = this.sessions.get(chatKey);
    if (!session) return;
    this.sessions.delete(chatKey);
    if (session.busy) session.native.stop();
    session.native.close();
  }

  close(): void {
    for (const chatKey of [...this.sessions.keys()]) this.forget(chatKey);
  }

  private create(): ChatSession {
    this.shrink(this.limit - 1);
    try {
      const native = this.model.createSession({ contextLength: this.contextLength });
      const capture: Capture = { mode: 'off', auditEvery: 0 };
      return { native, memory: new PromptMemory(this.encoder), busy: false, sparsity: null, capture };
    } catch (error) {
      throw fromNative(error);
    }
  }

  private shrink(limit: number): void {
    for (const [chatKey, { busy }] of this.sessions) {
      if (this.sessions.size <= limit) return;
      if (!busy) this.forget(chatKey);
    }
  }
}
