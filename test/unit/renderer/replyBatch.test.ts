import { describe, expect, it } from 'vitest';
import type { Message } from '../../../electron/contract/entities';
import { applyBatch, coalesce, startLive } from '../../../renderer/lib/replyBatch';
import type { ReplyBatch } from '../../../renderer/lib/replyBatch';

const reply: Message = {
  id: '6f2c1b6e-8f0e-4b57-9d3e-1f1f3b0c7a01',
  chatId: '6f2c1b6e-8f0e-4b57-9d3e-1f1f3b0c7a02',
  parentId: null,
  role: 'assistant',
  text: '',
  status: 'streaming',
  error: null,
  createdAt: 0,
  stats: null,
  provenance: null,
  siblings: [],
};

/** Frames that come when the test says so. */
function frames() {
  const waiting: (() => void)[] = [];
  return {
    next: (run: () => void) => void waiting.push(run),
    draw: () => waiting.splice(0).forEach((run) => run()),
    waiting,
  };
}

describe('coalesce', () => {
  it('hands on one batch per frame, with the text in order and the latest totals', () => {
    const frame = frames();
    const batches: ReplyBatch[] = [];
    const receive = coalesce((batch) => batches.push(batch), frame.next);
    receive({ type: 'prefill', done: 10, total: 20 });
    receive({ type: 'text', text: 'Hel', tokens: 1, tokensPerSecond: 10 });
    receive({ type: 'text', text: 'lo', tokens: 2, tokensPerSecond: 20 });
    expect(batches).toEqual([]);
    expect(frame.waiting).toHaveLength(1);
    frame.draw();
    receive({ type: 'text', text: '!', tokens: 3, tokensPerSecond: 21 });
    frame.draw();
    expect(batches.map((b) => [b.text, b.tokens, b.tokensPerSecond])).toEqual([
      ['Hello', 2, 20],
      ['!', 3, 21],
    ]);
  });

  it('hands on the end at once, without a frame, and nothing after it', () => {
    const frame = frames();
    const batches: ReplyBatch[] = [];
    const receive = coalesce((batch) => batches.push(batch), frame.next);
    receive({ type: 'text', text: 'a', tokens: 1, tokensPerSecond: 0 });
    receive({ type: 'done', message: { ...reply, text: 'ab', status: 'complete' } });
    expect(batches).toHaveLength(1);
    expect(batches[0]?.done?.text).toBe('ab');
    frame.draw();
    expect(batches).toHaveLength(1);
  });
});

describe('applyBatch', () => {
  const batch: ReplyBatch = { text: '', tokens: 0, tokensPerSecond: 0, prefill: null, done: null };

  it('shows the prompt being read, then text, then the committed message', () => {
    const one = applyBatch(reply, startLive(reply.chatId), { ...batch, prefill: { done: 5, total: 9 } });
    expect(one.live?.prefill).toEqual({ done: 5, total: 9 });
    expect(one.message).toBe(reply);

    const two = applyBatch(one.message, one.live!, { ...batch, text: 'Hi', tokens: 2, tokensPerSecond: 30 });
    expect(two.message.text).toBe('Hi');
    expect(two.live).toMatchObject({ prefill: null, tokens: 2, tokensPerSecond: 30 });

    const committed: Message = { ...reply, text: 'Hi there', status: 'stopped' };
    const three = applyBatch(two.message, two.live!, { ...batch, text: ' th', done: committed });
    expect(three).toEqual({ message: committed, live: null });
  });

  it('goes on after the text a continued reply already has', () => {
    const continued = applyBatch({ ...reply, text: 'Once upon' }, startLive(reply.chatId), {
      ...batch,
      text: ' a time',
      tokens: 2,
    });
    expect(continued.message.text).toBe('Once upon a time');
  });
});
