import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { TensorType } from '../../electron/engine/addon';
import { readModelFile } from '../../electron/models/gguf';
import { readRawHeader } from '../../electron/models/ggufReader';
import { ggufLayout, type GgufKeys, type GgufValue } from '../../electron/models/synthetic/ggufWriter';

/** A tensor of a file that is to be written. */
export interface Content {
  name: string;
  shape: number[];
  type: TensorType;
  data: Buffer;
}

export interface Rewriting {
  /** PowerInfer's form: its magic, the down projections by neuron; else GGUF with ReLU, the tensors as they were. */
  powerInfer: boolean;
  keys?: GgufKeys;
  /** Added after the model's own. */
  more?: (model: Map<string, Content>) => Content[];
}

const floatKeys = /epsilon|freq_base|factor/;

/** A tiny model of test/fixtures/models written anew, into a folder of its own. */
export async function rewriteFixture(name: string, { powerInfer, keys = {}, more }: Rewriting): Promise<string> {
  const source = fileURLToPath(new URL(`../fixtures/models/${name}.gguf`, import.meta.url));
  const bytes = readFileSync(source);
  const handle = await open(source, 'r');
  const header = await readRawHeader(handle, bytes.length, name).finally(() => handle.close());
  const { spec } = await readModelFile(source);
  const model = new Map<string, Content>();
  for (const { name, shape, type, offset } of spec.tensors) {
    const size = shape.reduce((product, extent) => product * extent, type === 'F16' ? 2 : 4);
    const content = { name, shape, type, data: bytes.subarray(offset, offset + size) };
    model.set(name, powerInfer ? byNeuron(content) : content);
  }
  const tensors = [...model.values(), ...(more?.(model) ?? [])];
  const architecture = header.metadata['general.architecture'] as string;
  const all: GgufKeys = {
    ...Object.fromEntries(
      Object.entries(header.metadata)
        .filter(([key]) => !/^(version|tensor_count|kv_count)$/.test(key))
        .map(([key, value]) => [key, writable(key, value)]),
    ),
    ...(powerInfer ? {} : { [`${architecture}.feed_forward_activation`]: 'relu' }),
    ...keys,
  };
  const layout = ggufLayout(all, tensors);
  const file = Buffer.alloc(layout.fileBytes);
  layout.header.copy(file);
  if (powerInfer) file.write('PWRI', 'latin1');
  for (const [index, { data }] of tensors.entries()) data.copy(file, layout.offsets[index]);
  const place = path.join(mkdtempSync(path.join(tmpdir(), 'hunch-powerinfer-')), 'tiny.gguf');
  writeFileSync(place, file);
  return place;
}

function writable(key: string, value: unknown): GgufValue {
  if (Array.isArray(value) && typeof value[0] === 'number') {
    return key.endsWith('scores') ? Float32Array.from(value) : Int32Array.from(value);
  }
  if (typeof value === 'bigint') return Number(value);
  return typeof value === 'number' && floatKeys.test(key) ? { f32: value } : (value as GgufValue);
}

/** PowerInfer's name and layout of a down projection; other tensors as they are. */
function byNeuron(content: Content): Content {
  const { name, shape, type, data } = content;
  if (!name.includes('.ffn_down.')) return content;
  const renamed = { ...content, name: name.replace('ffn_down', 'ffn_down_t') };
  if (shape.length === 1) return renamed;
  const [columns, rows] = shape as [number, number];
  const size = type === 'F16' ? 2 : 4;
  const to = Buffer.alloc(data.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      data.copy(to, (column * rows + row) * size, (row * columns + column) * size, (row * columns + column + 1) * size);
    }
  }
  return { ...renamed, shape: [rows, columns], data: to };
}

export function floats(name: string, shape: number[], values: ArrayLike<number>): Content {
  return { name, shape, type: 'F32', data: Buffer.from(Float32Array.from(values).buffer) };
}

/**
 * Predictors that know the answer: with fc1 = ±(gate · w), w the norm's weights, and fc2 = ±1, the score is the gate times the
 * length of the vector before the norm.
 */
export function knowingPredictors(model: Map<string, Content>): Content[] {
  const values = (name: string): Float32Array => new Float32Array(Uint8Array.from(model.get(name)!.data).buffer);
  return [0, 1].flatMap((layer) => {
    const gate = values(`blk.${layer}.ffn_gate.weight`);
    const norm = values(`blk.${layer}.ffn_norm.weight`);
    const [width, neurons] = model.get(`blk.${layer}.ffn_gate.weight`)!.shape as [number, number];
    const scaled = gate.map((value, i) => value * norm[i % width]!);
    const sign = (row: number, column: number): number => (column === row ? 1 : column === row + neurons ? -1 : 0);
    const second = Array.from({ length: neurons * 2 * neurons }, (_, i) =>
      sign(Math.floor(i / (2 * neurons)), i % (2 * neurons)),
    );
    return [
      floats(`blk.${layer}.fc1.weight`, [width, 2 * neurons], [...scaled, ...scaled.map((value) => -value)]),
      floats(`blk.${layer}.fc2.weight`, [2 * neurons, neurons], second),
    ];
  });
}

/** Predictors of this shape that are the same number everywhere. */
export function constantPredictors(width: number, neurons: number, rank: number, value: number): Content[] {
  return [0, 1].flatMap((layer) => [
    floats(`blk.${layer}.fc1.weight`, [width, rank], new Float32Array(width * rank).fill(value)),
    floats(`blk.${layer}.fc2.weight`, [rank, neurons], new Float32Array(rank * neurons).fill(value)),
  ]);
}
