import { mkdtempSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TensorType } from '../../../electron/engine/addon';
import { readTensorValues } from '../../../electron/models/tensorValues';

const halfOfHalf = [0x00, 0x38]; // 0.5 as f16
const three = [0x00, 0x42];

async function read(type: TensorType, bytes: number[] | Buffer, shape: number[]): Promise<number[]> {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'hunch-values-')), 'values');
  writeFileSync(file, Buffer.concat([Buffer.from('before'), Buffer.from(bytes)]));
  const handle = await open(file, 'r');
  try {
    return [...(await readTensorValues(handle, { name: 'fc1', type, shape, offset: 6 }, 'a.gguf'))];
  } finally {
    await handle.close();
  }
}

const range = (count: number, of: (i: number) => number): number[] => Array.from({ length: count }, (_, i) => of(i));
/** Value i in the low half of byte i, value i + 16 in the high one. */
const lowBits = (of: (i: number) => number): number[] => range(16, (i) => (of(i) & 15) | ((of(i + 16) & 15) << 4));
const fifthBits = (of: (i: number) => number): number[] => {
  const bytes = [0, 0, 0, 0];
  for (let i = 0; i < 32; i++) bytes[i >> 3]! |= ((of(i) >> 4) & 1) << (i & 7);
  return bytes;
};

describe('the values of a tensor', () => {
  it('are read from floats', async () => {
    const f32 = Buffer.from(Float32Array.of(1.5, -2e-7, 3e30, -0.25).buffer);
    expect(await read('F32', f32, [2, 2])).toEqual([...Float32Array.of(1.5, -2e-7, 3e30, -0.25)]);
    expect(await read('F16', [...halfOfHalf, ...three, 0x01, 0x80], [3])).toEqual([0.5, 3, -(2 ** -24)]);
    expect(await read('BF16', [0xc0, 0x3f, 0x00, 0xc1], [2])).toEqual([1.5, -8]);
  });

  it('are read from blocks of 32', async () => {
    const sixteen = (i: number): number => (i * 7) % 16;
    const all = (i: number): number => (i * 11) % 32;
    expect(await read('Q8_0', [...halfOfHalf, ...range(32, (i) => i * 8 - 128)], [32])).toEqual(
      range(32, (i) => (i * 8 - 128) / 2),
    );
    expect(await read('Q4_0', [...halfOfHalf, ...lowBits(sixteen)], [32])).toEqual(
      range(32, (i) => (sixteen(i) - 8) / 2),
    );
    expect(await read('Q4_1', [...halfOfHalf, ...three, ...lowBits(sixteen)], [32])).toEqual(
      range(32, (i) => sixteen(i) / 2 + 3),
    );
    expect(await read('Q5_0', [...halfOfHalf, ...fifthBits(all), ...lowBits(all)], [32])).toEqual(
      range(32, (i) => (all(i) - 16) / 2),
    );
    expect(await read('Q5_1', [...halfOfHalf, ...three, ...fifthBits(all), ...lowBits(all)], [32])).toEqual(
      range(32, (i) => all(i) / 2 + 3),
    );
  });

  it('are refused in other types, cut off, or where one is no number', async () => {
    await expect(read('Q6_K', Buffer.alloc(210), [256])).rejects.toMatchObject({
      code: 'model-unsupported',
      message: expect.stringContaining('The tensor "fc1" of "a.gguf" is Q6_K') as string,
    });
    await expect(read('F32', [0, 0, 0], [1])).rejects.toMatchObject({ code: 'model-truncated' });
    for (const bits of [0x7e00, 0x7c00]) {
      const scale = [bits & 255, bits >> 8];
      await expect(read('Q4_0', [...scale, ...lowBits(() => 3)], [32])).rejects.toMatchObject({
        code: 'model-invalid',
        message: expect.stringContaining('no finite number') as string,
      });
    }
  });
});
