import type { Message } from '../../electron/contract/entities';
import type { ReplyEvent } from '../../electron/contract/stream';

/** What came over a reply's port since the last frame. */
export interface ReplyBatch {
  text: string;
  tokens: number;
  tokensPerSecond: number;
  prefill: { done: number; total: number } | null;
  done: Message | null;
}

/** A reply that is being written, beside its message. */
export interface LiveReply {
  chatId: string;
  /** Prompt tokens read; null once text comes. */
  prefill: { done: number; total: number } | null;
  tokens: number;
  tokensPerSecond: number;
}

export const startLive = (chatId: string): LiveReply => ({ chatId, prefill: null, tokens: 0, tokensPerSecond: 0 });

/**
 * The reply after a batch. `live` is null when the reply has ended: then the message is the one the database holds,
 * not the one assembled here.
 */
export function applyBatch(
  message: Message,
  live: LiveReply,
  batch: ReplyBatch,
): { message: Message; live: LiveReply | null } {
  if (batch.done) return { message: batch.done, live: null };
  if (batch.text === '') return { message, live: { ...live, prefill: batch.prefill ?? live.prefill } };
  return {
    message: { ...message, text: message.text + batch.text },
    live: { ...live, prefill: null, tokens: batch.tokens, tokensPerSecond: batch.tokensPerSecond },
  };
}

/**
 * Collects events and hands them on once per frame, so that 200 tokens a second cost 60 renders, not 200. `done` is
 * handed on at once: a hidden window has no frames, but its replies still end.
 */
export function coalesce(
  sink: (batch: ReplyBatch) => void,
  nextFrame: (run: () => void) => void = (run) => void requestAnimationFrame(run),
): (event: Exclude<ReplyEvent, { type: 'frames' }>) => void {
  let pending: ReplyBatch | null = null;
  const flush = (): void => {
    if (!pending) return;
    const batch = pending;
    pending = null;
    sink(batch);
  };
  return (event) => {
    if (!pending) {
      pending = { text: '', tokens: 0, tokensPerSecond: 0, prefill: null, done: null };
      if (event.type !== 'done') nextFrame(flush);
    }
    if (event.type === 'prefill') {
      pending.prefill = { done: event.done, total: event.total };
    } else if (event.type === 'text') {
      pending.text += event.text;
      pending.tokens = event.tokens;
      pending.tokensPerSecond = event.tokensPerSecond;
    } else if (event.type === 'done') {
      pending.done = event.message;
      flush();
    }
  };
}
