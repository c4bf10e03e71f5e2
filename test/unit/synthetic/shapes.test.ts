import { mkdtempSync, readFileSync, readdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TensorType } from '../../../electron/engine/addon';
import { readModelFile } from '../../../electron/models/gguf';
import {
  RandomWords,
  blockTypeNames,
  half,
  randomWeights,
  tensorBytes,
} from '../../../electron/models/synthetic/blockTypes';
import { ggufLayout } from '../../../electron/models/synthetic/ggufWriter';
import type { Shape } from '../../../electron/models/synthetic/shapes';
import { peerShape, shapeTensors, shapes } from '../../../electron/models/synthetic/shapes';
import { shapesFolder, writeShape } from '../../../electron/models/synthetic/writeShape';
import { Tokenizer } from '../../../electron/models/tokenizer';
import { tinyShape } from './tinyShape';

const folder = (): string => mkdtempSync(path.join(tmpdir(), 'hunch-shapes-'));

function halfValue(bits: number): number {
  const [exponent, mantissa] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? mantissa / 2 ** 24 : (1 + mantissa / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}

/** What a few types' blocks mean, written down once more from ggml's documentation. */
const decoders: Partial<Record<TensorType, (bytes: DataView) => number[]>> = {
  F32: (bytes) => [bytes.getFloat32(0, true)],
  F16: (bytes) => [halfValue(bytes.getUint16(0, true))],
  BF16: (bytes) => {
    const wide = new DataView(new ArrayBuffer(4));
    wide.setUint16(2, bytes.getUint16(0, true), true);
    return [wide.getFloat32(0, true)];
  },
  Q8_0: (bytes) => Array.from({ length: 32 }, (_, i) => halfValue(bytes.getUint16(0, true)) * bytes.getInt8(2 + i)),
  Q4_0: (bytes) =>
    Array.from(
      { length: 32 },
      (_, i) => halfValue(bytes.getUint16(0, true)) * (((bytes.getUint8(2 + (i % 16)) >> (i < 16 ? 0 : 4)) & 15) - 8),
    ),
  Q4_1: (bytes) =>
    Array.from(
      { length: 32 },
      (_, i) =>
        halfValue(bytes.getUint16(0, true)) * ((bytes.getUint8(4 + (i % 16)) >> (i < 16 ? 0 : 4)) & 15) +
        halfValue(bytes.getUint16(2, true)),
    ),
  Q6_K: (bytes) =>
    Array.from({ length: 256 }, (_, at) => {
      const [part, i] = [Math.floor(at / 128), at % 128];
      const low = bytes.getUint8(64 * part + (i % 64)) >> (i < 64 ? 0 : 4);
      const high = bytes.getUint8(128 + 32 * part + (i % 32)) >> (2 * Math.floor(i / 32));
      const scale = bytes.getInt8(192 + 8 * part + Math.floor(i / 16));
      return halfValue(bytes.getUint16(208, true)) * scale * (((low & 15) | ((high & 3) << 4)) - 32);
    }),
  Q4_K: (bytes) =>
    Array.from({ length: 256 }, (_, at) => {
      const group = Math.floor(at / 32);
      const packed = (index: number): number => bytes.getUint8(4 + index);
      const [scale, min] =
        group < 4
          ? [packed(group) & 63, packed(group + 4) & 63]
          : [
              (packed(group + 4) & 15) | ((packed(group - 4) >> 6) << 4),
              (packed(group + 4) >> 4) | ((packed(group) >> 6) << 4),
            ];
      const byte = bytes.getUint8(16 + 32 * Math.floor(group / 2) + (at % 32));
      return (
        halfValue(bytes.getUint16(0, true)) * scale * ((byte >> (group % 2 ? 4 : 0)) & 15) -
        halfValue(bytes.getUint16(2, true)) * min
      );
    }),
};

describe('random blocks', () => {
  it.each(Object.entries(decoders) as [TensorType, (bytes: DataView) => number[]][])(
    'of %s have mean 0 and the deviation asked for',
    (type, decode) => {
      const rows = 64;
      const pieces = [...randomWeights(type, [4096, rows], 1 / 64, new RandomWords())].map((piece) =>
        Buffer.from(piece),
      );
      const bytes = Buffer.concat(pieces);
      expect(bytes.length).toBe(tensorBytes(type, [4096, rows]));
      const blockBytes = tensorBytes(type, [256]) / (256 / decode(new DataView(new ArrayBuffer(256))).length);
      const values: number[] = [];
      for (let at = 0; at < bytes.length; at += blockBytes) {
        values.push(...decode(new DataView(bytes.buffer, bytes.byteOffset + at, blockBytes)));
      }
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      const deviation = Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length);
      expect(values.length).toBe(4096 * rows);
      expect(Math.abs(mean * 64)).toBeLessThan(0.12); // Q4_0's levels, -8 … 7, are not symmetric
      // A float type's exponent is whole, so it comes within a factor of √2.
      expect(Math.abs(Math.log2(deviation * 64))).toBeLessThan(type.includes('F') ? 0.51 : 0.1);
    },
  );

  it('are the same every time, in whatever pieces', () => {
    const bytes = (): Buffer =>
      Buffer.concat([...randomWeights('Q5_K', [512, 3], 1, new RandomWords())].map((p) => Buffer.from(p)));
    expect(bytes().equals(bytes())).toBe(true);
  });

  it('rounds halves as IEEE says', () => {
    for (const [value, bits] of [
      [0, 0],
      [1, 0x3c00],
      [-2, 0xc000],
      [65504, 0x7bff],
      [2 ** -24, 1],
      [6.1035e-5, 0x0400],
      [1.9999, 0x4000],
      [1 / 3, 0x3555],
    ] as const) {
      expect(half(value)).toBe(bits);
    }
  });
});

describe('a shape', () => {
  it('has the published number of weights', () => {
    const count = (name: string): number =>
      shapeTensors(shapes.find((shape) => shape.name === name) as Shape, 'Q4_0').reduce(
        (sum, { shape }) => sum + shape.reduce((product, extent) => product * extent, 1),
        0,
      );
    expect(count('llama-3.2-1b')).toBe(1_235_814_400);
    expect(count('llama-2-7b')).toBe(6_738_415_616);
    expect(count('qwen3-8b')).toBe(8_190_735_360);
    expect(count('opt-6.7b')).toBe(6_658_473_984);
  });

  it('has rows of whole blocks for every type', () => {
    for (const shape of shapes)
      for (const type of blockTypeNames)
        for (const own of [shape, peerShape(shape)])
          expect(ggufLayout({}, shapeTensors(own, type)).fileBytes).toBeGreaterThan(1e8);
  });

  it('stands in for opt with the same matrices', () => {
    const opt = shapes.find(({ name }) => name === 'opt-6.7b') as Shape;
    const matrices = (shape: Shape): number =>
      shapeTensors(shape, 'Q4_0')
        .filter(({ name, type }) => type === 'Q4_0' && name.endsWith('.weight'))
        .reduce((sum, tensor) => sum + tensorBytes(tensor.type, tensor.shape), 0);
    expect(matrices(peerShape(opt))).toBe(matrices(opt));
  });

  it.each(blockTypeNames)('is written as a model file of %s that says what it is', async (type) => {
    const file = await writeShape(tinyShape(), type, { folder: folder() });
    const model = await readModelFile(file);
    expect(path.basename(file)).toBe(`tiny-${type.toLowerCase()}-v1.gguf`);
    expect(model).toMatchObject({ quantization: type, name: expect.stringContaining('synthetic weights: speed only') });
    expect(model.spec).toMatchObject({ layers: 2, width: 256, vocabulary: 600, kvHeads: 2, trainedContext: 131_072 });
    const tokenizer = new Tokenizer(model.vocabulary);
    const ids = await tokenizer.encode('the cat', { parseSpecial: false });
    expect(tokenizer.decode(ids)).toBe('the cat');
  });

  it('is written once, whole or not at all', async () => {
    const place = folder();
    const file = await writeShape(tinyShape(), 'Q4_0', { folder: place });
    const before = readFileSync(file);
    utimesSync(file, 1, 1);
    expect(await writeShape(tinyShape(), 'Q4_0', { folder: place })).toBe(file);
    expect(statSync(file).mtimeMs).toBe(1000);
    writeFileSync(file, before.subarray(0, 1000)); // cut off by something else
    await writeShape(tinyShape(), 'Q4_0', { folder: place });
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(readdirSync(place)).toEqual([path.basename(file)]);

    const failing = writeShape(tinyShape(), 'Q8_0', {
      folder: place,
      onProgress: () => {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      },
    });
    await expect(failing).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('XDG_CACHE_HOME'),
    });
    expect(readdirSync(place)).toEqual([path.basename(file)]);
  });

  it('is refused before the disk is full', async () => {
    const place = folder();
    const huge = {
      ...tinyShape(),
      keys: { ...tinyShape().keys, 'llama.block_count': 1000, 'llama.feed_forward_length': 1 << 22 },
    };
    await expect(writeShape(huge, 'F32', { folder: place })).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringMatching(/needs 12\d+\.\d GB, but .* has \d+\.\d GB free/),
    });
    expect(readdirSync(place)).toEqual([]);
  });

  it('lies in the cache folder', () => {
    expect(shapesFolder({ XDG_CACHE_HOME: '/c' })).toBe(path.join('/c', 'hunch', 'shapes'));
    expect(shapesFolder({})).toMatch(/\.cache.hunch.shapes$/);
  });
});
