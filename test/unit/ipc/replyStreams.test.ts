import { describe, expect, it } from 'vitest';
import type { Message } from '../../../electron/contract/entities';
import type { ReplyEvent } from '../../../electron/contract/stream';
import { ReplyStreams } from '../../../electron/replyStreams';

const text = (piece: string, tokens = 1): ReplyEvent => ({ type: 'text', text: piece, tokens, tokensPerSecond: 1 });
const done = (id: string): ReplyEvent => ({ type: 'done', message: { id } as Message });

describe('ReplyStreams', () => {
  it('delivers events in order to a listener that was there first', () => {
    const streams = new ReplyStreams();
    const got: ReplyEvent[] = [];
    streams.listen('r', (event) => got.push(event));
    streams.open('r');
    streams.receive('r', text('a'));
    streams.receive('r', done('r'));
    expect(got).toEqual([text('a'), done('r')]);
  });

  it('keeps what came before the listener, joined', () => {
    const streams = new ReplyStreams();
    streams.open('r');
    for (let i = 0; i < 5; i++) streams.receive('r', { type: 'prefill', done: i, total: 4 });
    streams.receive('r', text('a', 1));
    streams.receive('r', text('b', 2));
    const got: ReplyEvent[] = [];
    streams.listen('r', (event) => got.push(event));
    streams.receive('r', text('c', 3));
    expect(got).toEqual([{ type: 'prefill', done: 4, total: 4 }, text('ab', 2), text('c', 3)]);
  });

  it('keeps only the end of a reply that ended before the listener came', () => {
    const streams = new ReplyStreams();
    streams.open('r');
    streams.receive('r', text('a'));
    streams.receive('r', done('r'));
    const got: ReplyEvent[] = [];
    streams.listen('r', (event) => got.push(event));
    expect(got).toEqual([done('r')]);
    streams.listen('r', (event) => got.push(event));
    expect(got).toHaveLength(1);
  });

  it('ends a subscription with the reply, so that continuing the same message begins anew', () => {
    const streams = new ReplyStreams();
    const first: ReplyEvent[] = [];
    const second: ReplyEvent[] = [];
    streams.listen('r', (event) => first.push(event));
    streams.receive('r', done('r'));
    streams.open('r');
    streams.receive('r', text('more'));
    streams.listen('r', (event) => second.push(event));
    streams.receive('r', done('r'));
    expect(first).toEqual([done('r')]);
    expect(second).toEqual([text('more'), done('r')]);
  });

  it('stops delivering after unsubscribing, and an old unsubscribe does not end a newer subscription', () => {
    const streams = new ReplyStreams();
    const got: string[] = [];
    const stopFirst = streams.listen('r', () => got.push('first'));
    streams.listen('r', () => got.push('second'));
    stopFirst();
    streams.receive('r', text('a'));
    expect(got).toEqual(['second']);
    const stop = streams.listen('q', () => got.push('q'));
    stop();
    streams.receive('q', text('a'));
    expect(got).toEqual(['second']);
  });

  it('forgets old replies nobody listened to', () => {
    const streams = new ReplyStreams();
    for (let i = 0; i < 1000; i++) {
      streams.open(`r${i}`);
      streams.receive(`r${i}`, done(`r${i}`));
    }
    const got: ReplyEvent[] = [];
    streams.listen('r0', (event) => got.push(event));
    streams.listen('r999', (event) => got.push(event));
    expect(got).toEqual([done('r999')]);
  });

  it('keeps frames beside the text, at most the newest tokens’', () => {
    const streams = new ReplyStreams();
    const frames = (from: number, count: number): ReplyEvent => ({
      ...{ type: 'frames', from, tokens: Array.from({ length: count }, (_, i) => ({ id: from + i, text: 'x' })) },
      frames: Array.from({ length: count }, (_, i) => Uint8Array.of((from + i) % 256)),
    });
    streams.open('r');
    streams.receive('r', text('a', 1));
    streams.receive('r', frames(0, 1));
    streams.receive('r', text('b', 2));
    streams.receive('r', frames(1, 1));
    for (let from = 2; from < 5002; from += 100) streams.receive('r', frames(from, 100));
    const got: ReplyEvent[] = [];
    streams.listen('r', (event) => got.push(event));
    expect(got.map(({ type }) => type)).toEqual(['text', 'frames']);
    expect(got[0]).toEqual(text('ab', 2));
    const kept = got[1] as Extract<ReplyEvent, { type: 'frames' }>;
    expect([kept.from, kept.tokens.length, kept.frames.length]).toEqual([5002 - 4096, 4096, 4096]);
    expect(kept.tokens[0]!.id).toBe(kept.from);
    expect(kept.frames[0]![0]).toBe(kept.from % 256);
    streams.receive('r', frames(5002, 1));
    expect(got[2]).toEqual(frames(5002, 1));
  });

  it('takes frames that come later than their tokens', () => {
    const streams = new ReplyStreams();
    const tokens = [0, 1, 2, 3].map((id) => ({ id, text: 'x' }));
    const frame = (i: number) => Uint8Array.of(i);
    streams.open('r');
    streams.receive('r', { type: 'frames', from: 0, tokens: tokens.slice(0, 2), frames: [null, frame(1)] });
    streams.receive('r', { type: 'frames', from: 2, tokens: tokens.slice(2), frames: [null, frame(3)] });
    streams.receive('r', {
      type: 'frames',
      from: 0,
      tokens: tokens.slice(0, 3),
      frames: [frame(0), frame(1), frame(2)],
    });
    const got: ReplyEvent[] = [];
    streams.listen('r', (event) => got.push(event));
    expect(got).toEqual([{ type: 'frames', from: 0, tokens, frames: [0, 1, 2, 3].map(frame) }]);
  });
});
