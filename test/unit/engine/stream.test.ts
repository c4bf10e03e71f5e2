import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ReplyProgress } from '../../../electron/engine/runtime';
import { Coalescer } from '../../../electron/engine/stream';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function start() {
  const sent: { event: ReplyProgress; at: number }[] = [];
  const begin = Date.now();
  const stream = new Coalescer((event) => sent.push({ event, at: Date.now() - begin }), Date.now);
  const token = (i: number): ReplyProgress => ({ type: 'text', text: `${i} `, tokens: i, tokensPerSecond: i });
  return { sent, stream, token };
}

describe('Coalescer', () => {
  it('sends the first token at once and then at most 60 events a second, losing nothing', () => {
    const { sent, stream, token } = start();
    for (let i = 0; i < 1000; i++) {
      stream.push(token(i));
      vi.advanceTimersByTime(1);
    }
    stream.flush();
    expect(sent[0]).toMatchObject({ at: 0, event: { text: '0 ' } });
    expect(sent.length).toBeLessThanOrEqual(61);
    expect(sent.length).toBeGreaterThan(50);
    const texts = sent.map(({ event }) => (event.type === 'text' ? event.text : ''));
    expect(texts.join('')).toBe([...Array(1000).keys()].map((i) => `${i} `).join(''));
    expect(sent[sent.length - 1]!.event).toMatchObject({ tokens: 999, tokensPerSecond: 999 });
  });

  it('sends what is held back without a further event', () => {
    const { sent, stream, token } = start();
    stream.push(token(1));
    stream.push(token(2));
    expect(sent).toHaveLength(1);
    vi.advanceTimersByTime(17);
    expect(sent.map(({ event }) => event)).toEqual([token(1), token(2)]);
    vi.advanceTimersByTime(100);
    expect(sent).toHaveLength(2);
  });

  it('keeps prefill before text and only its latest state', () => {
    const { sent, stream, token } = start();
    for (let done = 0; done <= 4; done++) stream.push({ type: 'prefill', done, total: 4 });
    stream.push(token(1));
    stream.flush();
    expect(sent.map(({ event }) => event)).toEqual([
      { type: 'prefill', done: 0, total: 4 },
      { type: 'prefill', done: 4, total: 4 },
      token(1),
    ]);
  });

  it('has nothing to send when nothing came', () => {
    const { sent, stream } = start();
    stream.flush();
    vi.advanceTimersByTime(1000);
    expect(sent).toEqual([]);
  });
});

describe('Coalescer with frames', () => {
  const frames = (from: number, whole = false): ReplyProgress => ({
    ...{ type: 'frames', from, tokens: [{ id: from, text: `${from} ` }] },
    ...{ frames: [Uint8Array.of(from)], whole },
  });

  it('sends at most 60 events of a kind a second, in order, none lost, text first', () => {
    const { sent, stream, token } = start();
    for (let i = 0; i < 1000; i++) {
      stream.push(token(i));
      stream.push(frames(i));
      vi.advanceTimersByTime(1);
    }
    stream.flush();
    const of = (type: string) => sent.filter(({ event }) => event.type === type);
    expect(of('text').length).toBeLessThanOrEqual(61);
    expect(of('frames').length).toBeLessThanOrEqual(61);
    let [text, next] = ['', 0];
    for (const { event } of sent) {
      if (event.type === 'text') text += event.text;
      if (event.type !== 'frames') continue;
      expect(event.from).toBe(next);
      for (const [i, frame] of event.frames.entries()) {
        expect([event.tokens[i]!.id, frame![0]]).toEqual([next + i, (next + i) % 256]);
      }
      next += event.frames.length;
      // The text of these tokens has gone out.
      expect(text.endsWith(event.tokens.map((one) => one.text).join(''))).toBe(true);
    }
    expect(next).toBe(1000);
  });

  it('does not join what is large already', () => {
    const { sent, stream } = start();
    for (let i = 0; i < 5; i++) stream.push(frames(i, true));
    stream.flush();
    expect(sent.map(({ event }) => event)).toEqual([0, 1, 2, 3, 4].map((i) => frames(i, true)));
  });

  it('keeps its order where another kind comes between', () => {
    const { sent, stream, token } = start();
    stream.push(token(0));
    for (const event of [token(1), frames(0), { type: 'sparsity', made: 'exact' } as const, token(2), frames(1)]) {
      stream.push(event);
    }
    stream.flush();
    expect(sent.map(({ event }) => event.type)).toEqual(['text', 'text', 'frames', 'sparsity', 'text', 'frames']);
  });
});
