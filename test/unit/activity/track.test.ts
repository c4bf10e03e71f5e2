import { describe, expect, it } from 'vitest';
import { decodeFrame } from '../../../electron/contract/frames';
import { FrameTrack } from '../../../renderer/activity/track';
import { encodeFrame, patternFrame, type FrameShape } from '../../helpers/frames';

const shape: FrameShape = { layers: 3, neurons: 40, heads: 2, blockSize: 8 };
const bytesOf = (sequence: number): Uint8Array => encodeFrame(patternFrame(shape, sequence));
const token = (id: number) => ({ id, text: ` t${id}` });
const tokens = (from: number, count: number) => Array.from({ length: count }, (_, i) => token(from + i));

describe('a track of frames', () => {
  it('keeps text, figures and frames token by token', () => {
    const track = new FrameTrack(true);
    track.put(0, tokens(0, 3), [null, bytesOf(2), bytesOf(3)]);
    expect(track.length).toBe(3);
    expect(track.frame(0)).toBeNull();
    expect(track.frame(1)).toEqual(decodeFrame(bytesOf(2)));
    const frame = decodeFrame(bytesOf(3));
    expect(track.figure('bytes', 2)).toBe(Math.fround(frame.bytes));
    expect(track.figure('active', 2)).toBe(frame.layers.reduce((sum, { active }) => sum + active, 0));
    expect(track.figure('bytes', 0)).toBeNaN();
    // Misses are known on audit tokens only: of these, number 3 is one.
    expect(track.figure('missed', 1)).toBeNaN();
    expect(track.figure('missed', 2)).toBe(frame.layers.reduce((sum, { missed }) => sum + missed, 0));
    expect(track.audits).toBe(1);
    expect(track.peak).toBe(Math.max(...decodeFrame(bytesOf(2)).peak, ...frame.peak));
  });

  it('leaves a gap for tokens that came before it was listening, and fills it later', () => {
    const track = new FrameTrack(true);
    track.put(2, tokens(2, 1), [bytesOf(2)]);
    expect(track.length).toBe(3);
    expect(track.tokens[0]).toEqual({ id: -1, text: '' });
    expect(track.frame(0)).toBeUndefined();
    track.put(0, tokens(0, 2), [null, bytesOf(1)]);
    expect(track.tokens.map(({ id }) => id)).toEqual([0, 1, 2]);
    expect(track.frame(1)).toEqual(decodeFrame(bytesOf(1)));
    expect(track.framed).toBe(2);
  });

  it('counts bytes that are no frame and goes on', () => {
    const track = new FrameTrack(true);
    track.put(0, tokens(0, 2), [bytesOf(0).slice(0, 50), bytesOf(1)]);
    expect(track.broken).toBe(1);
    expect(track.frame(0)).toBeNull();
    expect(track.frame(1)).not.toBeNull();
  });

  it('holds no more than its limit in ten minutes at 100 tokens a second, and loses no token', () => {
    const one = bytesOf(1);
    const limit = one.byteLength * 500;
    const track = new FrameTrack(true, limit);
    for (let from = 0; from < 60_000; from += 100) {
      track.put(
        from,
        tokens(from, 100),
        Array.from({ length: 100 }, () => one),
      );
      expect(track.bytesHeld).toBeLessThanOrEqual(limit);
    }
    expect(track.length).toBe(60_000);
    expect(track.tokens[59_999]).toEqual(token(59_999));
    expect(track.column('bytes').every((value) => value > 0)).toBe(true);
    expect(track.frame(59_999)).not.toBeNull();
    expect(track.frame(100)).toBeUndefined();
    // Asked for again, it is there, and the limit still holds.
    track.put(
      64,
      tokens(64, 64),
      Array.from({ length: 64 }, () => one),
    );
    expect(track.frame(100)).not.toBeUndefined();
    expect(track.bytesHeld).toBeLessThanOrEqual(limit);
    expect(track.framed).toBe(60_000);
  });

  it('never lets go of what cannot be fetched again', () => {
    const one = bytesOf(1);
    const track = new FrameTrack(false, one.byteLength * 2);
    track.put(
      0,
      tokens(0, 20),
      Array.from({ length: 20 }, () => one),
    );
    expect(track.frame(0)).not.toBeUndefined();
  });

  it('lets go of all frames that can be fetched again, and takes them back', () => {
    const track = new FrameTrack(true);
    track.put(0, tokens(0, 3), [null, bytesOf(1), bytesOf(2)]);
    const held = track.bytesHeld;
    expect(track.letGo()).toBe(held);
    expect(track.bytesHeld).toBe(0);
    expect([track.frame(0), track.frame(1)]).toEqual([null, undefined]);
    expect(track.figure('bytes', 2)).toBeGreaterThan(0);
    track.put(0, tokens(0, 3), [null, bytesOf(1), bytesOf(2)]);
    expect(track.bytesHeld).toBe(held);
    expect([track.frame(1), track.framed]).toEqual([decodeFrame(bytesOf(1)), 2]);
    const run = new FrameTrack(false);
    run.put(0, tokens(0, 1), [bytesOf(1)]);
    expect([run.letGo(), run.frame(0)]).toEqual([0, decodeFrame(bytesOf(1))]);
  });
});
