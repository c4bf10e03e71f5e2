import { describe, expect, it } from 'vitest';
import type { FramesProgress } from '../../../electron/engine/activityTrail';
import { FramesPace } from '../../../electron/engine/framesPace';

/** Tokens that come one by one, so many a second; the first has no frame. */
function write(count: number, perSecond: number, frameBytes = 8) {
  let now = 0;
  const events: (FramesProgress & { at: number })[] = [];
  const pace = new FramesPace(
    (event) => events.push({ ...event, at: now }),
    () => now,
  );
  for (let i = 0; i < count; i++) {
    const frames = [i === 0 ? null : new Uint8Array(frameBytes).fill(i % 256)];
    pace.push({ type: 'frames', from: i, tokens: [{ id: i, text: `${i}` }], frames, whole: true });
    now += 1000 / perSecond;
  }
  const before = events.length;
  pace.end();
  return { events, before };
}

/** What a listener has that takes every event as it comes. */
function received(events: FramesProgress[]) {
  const ids: number[] = [];
  const frames: (number | null)[] = [];
  for (const { from, ...event } of events) {
    expect(from).toBeLessThanOrEqual(ids.length);
    event.tokens.forEach(({ id }, i) => (ids[from + i] = id));
    event.frames.forEach((frame, i) => (frames[from + i] = frame?.[0] ?? null));
  }
  return { ids, frames };
}

describe('the pace of frames', () => {
  it.each([
    [1000, 500],
    [300, 60],
    [130, 20],
    [10, 500],
    [1, 1],
  ])('loses none of %d tokens at %d a second', (count, perSecond) => {
    const { events } = write(count, perSecond);
    const numbers = Array.from({ length: count }, (_, i) => i);
    const frames = numbers.map((i) => (i === 0 ? null : i % 256));
    expect(received(events)).toEqual({ ids: numbers, frames });
    const whole = events.filter((event) => event.whole);
    expect(received(whole)).toEqual({ ids: numbers, frames });
    expect(whole.every(({ tokens }) => tokens.length <= 64)).toBe(true);
  });

  it('carries few frames while a fast model writes, the newest at once', () => {
    const { events, before } = write(1000, 500);
    const carried = events.slice(0, before).flatMap(({ frames }) => frames.filter((frame) => frame));
    // Two seconds: 20 live ones and one chunk of 64 in each.
    expect(carried.length).toBeLessThanOrEqual(2 * (20 + 64) + 2);
    const live = events.slice(0, before).filter((event) => !event.whole);
    for (const event of live.slice(1)) {
      expect(event.frames.at(-1)).not.toBeNull();
      expect(event.frames.filter((frame) => frame)).toHaveLength(1);
    }
    const gaps = live.slice(1).map(({ at }, i) => at - live[i]!.at);
    expect(Math.max(...gaps)).toBeLessThanOrEqual(52);
  });

  it('carries all of a slow model’s', () => {
    const { events, before } = write(200, 20);
    expect(events.slice(0, before).filter((event) => !event.whole && event.frames.includes(null))).toHaveLength(1);
    const whole = events.slice(0, before).filter((event) => event.whole);
    expect(whole.map(({ tokens }) => tokens.length)).toEqual([64, 64, 64]);
  });

  it('holds a bounded number of bytes', () => {
    const { events, before } = write(2100, 100_000, 64 * 1024);
    const whole = events.slice(0, before).filter((event) => event.whole);
    expect(whole.length).toBeGreaterThan(0);
    expect(2100 - whole.reduce((sum, { tokens }) => sum + tokens.length, 0)).toBeLessThanOrEqual(2048 + 64);
  });
});
