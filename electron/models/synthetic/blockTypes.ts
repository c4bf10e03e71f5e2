import type { TensorType } from '../../engine/addon';
import { tensorLayout } from '../tensorTypes';

/**
 * How random bits become weights of a wanted standard deviation. A block of a quantised type may hold any bits; only its
 * f16 scales have to be set. The numbers below are the deviations of one block's values for a scale of 1, over uniformly
 * random bits.
 */
interface BlockType {
  ggml: number; // ggml's number of the type
  /** f16 scales of a block: where they lie (bytes) and their value for weights of deviation 1. */
  scales?: { at: number; factor: number }[];
  /** Float types: bits of a value that stay random, and how a deviation becomes the rest. */
  float?: { bytes: 2 | 4; random: number; fixed: (deviation: number) => number };
}

const uniform = (values: number): number => Math.sqrt((values ** 2 - 1) / 12); // deviation of 0 … values − 1

/** d · scale · q − dmin · min with 6-bit scale and min: dmin = centre · d makes the mean zero. */
function superblock(levels: number): { at: number; factor: number }[] {
  const centre = (levels - 1) / 2;
  const [meanSix, squareSix] = [31.5, (63 * 127) / 6];
  const squareQ = ((levels - 1) * (2 * levels - 1)) / 6;
  const product = squareSix * squareQ - (meanSix * centre) ** 2;
  const deviation = Math.sqrt(product + centre ** 2 * uniform(64) ** 2);
  return [
    { at: 0, factor: 1 / deviation },
    { at: 2, factor: centre / deviation },
  ];
}

/** d · q + m. */
const affine = (levels: number): { at: number; factor: number }[] => [
  { at: 0, factor: 1 / uniform(levels) },
  { at: 2, factor: -(levels - 1) / 2 / uniform(levels) },
];

/** Sign and mantissa random, exponent fixed: ± [2^e, 2^(e+1)), whose deviation is 1.53 · 2^e. */
const exponentOf = (deviation: number): number => Math.round(Math.log2(deviation / Math.sqrt(7 / 3)));

const iq4Values = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
const iq4Deviation = Math.sqrt(iq4Values.reduce((sum, value) => sum + value ** 2, 0) / 16);

const table: Record<TensorType, BlockType> = {
  F32: { ggml: 0, float: { bytes: 4, random: 0x807fffff, fixed: (d) => (exponentOf(d) + 127) << 23 } },
  F16: { ggml: 1, float: { bytes: 2, random: 0x83ff, fixed: (d) => (exponentOf(d) + 15) << 10 } },
  BF16: { ggml: 30, float: { bytes: 2, random: 0x807f, fixed: (d) => (exponentOf(d) + 127) << 7 } },
  Q8_0: { ggml: 8, scales: [{ at: 0, factor: 1 / uniform(256) }] },
  Q4_0: { ggml: 2, scales: [{ at: 0, factor: 1 / uniform(16) }] },
  Q4_1: { ggml: 3, scales: affine(16) },
  Q5_0: { ggml: 6, scales: [{ at: 0, factor: 1 / uniform(32) }] },
  Q5_1: { ggml: 7, scales: affine(32) },
  IQ4_NL: { ggml: 20, scales: [{ at: 0, factor: 1 / iq4Deviation }] },
  Q4_K: { ggml: 12, scales: superblock(16) },
  Q5_K: { ggml: 13, scales: superblock(32) },
  Q6_K: { ggml: 14, scales: [{ at: 208, factor: 1 / (uniform(256) * uniform(64)) }] },
};

export const blockTypeNames = Object.keys(table) as TensorType[];

export const typeNumber = (type: TensorType): number => table[type].ggml;

function layoutOf(type: TensorType): { blockValues: number; blockBytes: number } {
  const layout = tensorLayout(typeNumber(type));
  if (!layout) throw new Error(`no layout for ${type}`);
  return layout;
}

/** Bytes of a tensor, without padding. */
export function tensorBytes(type: TensorType, shape: readonly number[]): number {
  const { blockValues, blockBytes } = layoutOf(type);
  if ((shape[0] as number) % blockValues !== 0) throw new Error(`rows of ${shape[0]} are not whole ${type} blocks`);
  return (shape.reduce((product, extent) => product * extent, 1) / blockValues) * blockBytes;
}

/** Columns that a row of this type must be a multiple of. */
export const blockColumns = (type: TensorType): number => layoutOf(type).blockValues;

/** IEEE half of a finite number within its range, rounded to the nearest. */
export function half(value: number): number {
  const sign = value < 0 ? 0x8000 : 0;
  const size = Math.abs(value);
  if (size < 2 ** -14) return sign | Math.round(size * 2 ** 24);
  const exponent = Math.floor(Math.log2(size));
  return sign | (((exponent + 15) << 10) + Math.round((size / 2 ** exponent - 1) * 1024));
}

/** Random 32-bit words, fast (xorshift, Marsaglia 2003). */
export class RandomWords {
  private state = 0x9e3779b9;

  fill(words: Uint32Array): void {
    let x = this.state;
    for (let index = 0; index < words.length; index++) {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      words[index] = x;
    }
    this.state = x;
  }
}

const pieceBytes = 4 << 20;

/** A tensor of random weights with mean 0 and about this deviation, in pieces that share one buffer. */
export function* randomWeights(
  type: TensorType,
  shape: readonly number[],
  deviation: number,
  random: RandomWords,
): Generator<Uint8Array> {
  const { blockBytes } = layoutOf(type);
  const { scales, float } = table[type];
  const total = tensorBytes(type, shape);
  const length = Math.min(total, Math.floor(pieceBytes / blockBytes) * blockBytes);
  const words = new Uint32Array(Math.ceil(length / 4));
  const shorts = new Uint16Array(words.buffer);
  for (let done = 0; done < total;) {
    const bytes = Math.min(length, total - done);
    random.fill(words);
    for (const { at, factor } of scales ?? []) {
      const bits = half(factor * deviation);
      for (let index = at / 2; index < bytes / 2; index += blockBytes / 2) shorts[index] = bits;
    }
    if (float) {
      const values = float.bytes === 2 ? shorts : words;
      const fixed = float.fixed(deviation);
      for (let index = 0; index < bytes / float.bytes; index++) {
        values[index] = ((values[index] as number) & float.random) | fixed;
      }
    }
    yield new Uint8Array(words.buffer, 0, bytes);
    done += bytes;
  }
}
