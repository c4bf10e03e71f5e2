import { describe, expect, it } from 'vitest';
import {
  decodeFrame,
  decodeRecord,
  FrameError,
  layerValues,
  maxFrameBytes,
  neuronState,
  stateOf,
} from '../../../electron/contract/frames';
import {
  encodeFrame,
  encodeRecord,
  largeShape,
  patternFrame,
  patternRecord,
  replay,
  summaryOf,
} from '../../helpers/frames';

const small = { layers: 3, neurons: 21, heads: 3 };

/** Runs with the heap watched: what a hostile frame makes the decoder allocate. */
function allocated(work: () => void): number {
  const before = process.memoryUsage();
  work();
  const after = process.memoryUsage();
  return after.arrayBuffers - before.arrayBuffers + (after.heapUsed - before.heapUsed);
}

function patched(bytes: Uint8Array, word: number, value: number): Uint8Array {
  const copy = bytes.slice();
  new DataView(copy.buffer).setUint32(word * 4, value, true);
  return copy;
}

describe('the frame codec', () => {
  it.each([
    ['even', { layers: 2, neurons: 64, heads: 4 }, 8],
    ['odd neurons and heads', small, 8],
    ['one neuron, one block', { layers: 1, neurons: 1, heads: 1 }, 8],
    ['a last block of one', { layers: 5, neurons: 33, heads: 9 }, 16],
  ])('reads back what was written: %s', (_name, shape, blockSize) => {
    for (const sequence of [0, 3]) {
      const record = patternRecord(shape, sequence);
      const summary = summaryOf(record, blockSize);
      expect(decodeRecord(encodeRecord(record))).toEqual(record);
      expect(decodeFrame(encodeFrame(summary))).toEqual(summary);
      expect(summary.missed === null).toBe(sequence !== 3);
    }
  });

  it('reads frames that lie inside a larger buffer at an odd offset', () => {
    const frame = patternFrame(small, 3);
    const bytes = encodeFrame(frame);
    const around = new Uint8Array(bytes.length + 10);
    around.set(bytes, 5);
    expect(decodeFrame(around.subarray(5, 5 + bytes.length))).toEqual(frame);
  });

  it('gives each neuron its value, not another one’s', () => {
    const record = patternRecord(small, 3);
    for (let layer = 0; layer < small.layers; layer++) {
      const values = layerValues(record, layer);
      let at = record.offsets[layer]!;
      for (let neuron = 0; neuron < small.neurons; neuron++) {
        const state = stateOf(record, layer, neuron);
        if (state & neuronState.active) expect(values[neuron]).toBe(record.values[at++]);
        else if (state & neuronState.computed) expect(values[neuron]).toBe(0);
        else expect(values[neuron]).toBeNaN();
      }
      expect(at).toBe(record.offsets[layer + 1]);
    }
  });

  it('refuses a frame cut off at any byte', () => {
    const frame = encodeFrame(summaryOf(patternRecord(small, 3), 8));
    const record = encodeRecord(patternRecord(small, 3));
    for (let length = 0; length < frame.length; length++) {
      expect(() => decodeFrame(frame.subarray(0, length))).toThrow(FrameError);
    }
    for (let length = 0; length < record.length; length++) {
      expect(() => decodeRecord(record.subarray(0, length))).toThrow(FrameError);
    }
  });

  it('refuses another kind, another magic and values that name nothing', () => {
    const frame = encodeFrame(summaryOf(patternRecord(small, 3), 8));
    const record = encodeRecord(patternRecord(small, 3));
    expect(() => decodeRecord(frame)).toThrow(FrameError);
    expect(() => decodeFrame(record)).toThrow(FrameError);
    expect(() => decodeFrame(patched(frame, 0, 0x32464e48))).toThrow(FrameError);
    expect(() => decodeFrame(patched(frame, 14, 9))).toThrow(FrameError); // activation
    expect(() => decodeFrame(patched(frame, 16, 77))).toThrow(FrameError); // route of layer 0
    expect(() => decodeFrame(patched(frame, 7, 0))).toThrow(FrameError); // block size
    expect(() => decodeFrame(patched(frame, 8, 4))).toThrow(FrameError); // blocks
  });

  it('refuses absurd sizes without allocating for them', () => {
    const frame = encodeFrame(summaryOf(patternRecord(small, 3), 8));
    const record = encodeRecord(patternRecord(small, 3));
    for (const word of [4, 5, 6, 8]) {
      for (const value of [0xffff, 2 ** 24, 0x7fffffff, 0xffffffff]) {
        const cost = allocated(() => {
          expect(() => decodeFrame(patched(frame, word, value))).toThrow(FrameError);
          if (word !== 8) expect(() => decodeRecord(patched(record, word, value))).toThrow(FrameError);
        });
        expect(cost).toBeLessThan(2 ** 24);
      }
    }
    const counts = (64 + 40 * 3 + Math.ceil((3 * 11) / 4) * 4) / 4;
    for (const value of [22, 2 ** 30, 0xffffffff]) {
      expect(() => decodeRecord(patched(record, counts, value))).toThrow(FrameError);
    }
  });

  it('refuses counts that only fit when added up modulo 2^32', () => {
    const record = patternRecord(small, 3);
    const bytes = encodeRecord(record);
    const counts = (64 + 40 * 3 + Math.ceil((3 * 11) / 4) * 4) / 4;
    const first = record.offsets[1]!;
    const wrapped = patched(patched(bytes, counts, first + 2 ** 31), counts + 1, record.offsets[2]! - first + 2 ** 31);
    expect(() => decodeRecord(wrapped)).toThrow(FrameError);
  });
});

describe('the replay of a 70B model', () => {
  it('stays within the size of a frame and repeats bit for bit', () => {
    const frames = replay(4);
    for (const bytes of frames) expect(bytes.length).toBeLessThanOrEqual(maxFrameBytes);
    expect(replay(4)).toEqual(frames);
    const frame = decodeFrame(frames[3]!);
    expect([frame.layers.length, frame.neurons, frame.heads]).toEqual([
      largeShape.layers,
      largeShape.neurons,
      largeShape.heads,
    ]);
    for (const [i, layer] of frame.layers.entries()) {
      const sum = (counts: Uint16Array): number =>
        counts.subarray(i * frame.blocks, (i + 1) * frame.blocks).reduce((a, b) => a + b, 0);
      expect([sum(frame.named), sum(frame.computed), sum(frame.active), sum(frame.missed!)]).toEqual([
        layer.named,
        layer.computed,
        layer.active,
        layer.missed,
      ]);
    }
  });
});
