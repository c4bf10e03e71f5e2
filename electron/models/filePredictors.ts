import { open } from 'node:fs/promises';
import { HunchError } from '../contract/errors';
import type { LowRankPredictor, Predictors } from '../engine/addon';
import type { ModelFile } from './gguf';
import type { FilePredictors } from './powerInfer';
import { readTensorValues } from './tensorValues';

/** Values in all: they are in memory twice as floats until the engine has made bytes of them. A 13B model's are 0.8 · 10⁹. */
const mostValues = 1e9;

/** A norm's weight so far below its largest one that a column divided by it would be nothing but rounding. */
const smallestShare = 1e-4;

/**
 * The predictors of a PowerInfer file for the engine. PowerInfer's read what enters the norm before the MLP, the engine's what
 * leaves it: x/|x| · w for RMSNorm. Dividing the columns of the first factor by w leaves the scores as they were but for a
 * positive factor, as ReLU has no scale; so it does where scores are compared with 0. Errors: model-unsupported (no such
 * predictors can be made of the file's), those of `readTensorValues`.
 */
export async function readFilePredictors(file: ModelFile, { layers, threshold }: FilePredictors): Promise<Predictors> {
  const { spec, vocabulary } = file;
  const cannot = (why: string): HunchError =>
    new HunchError(
      'model-unsupported',
      `${why} The model runs without them; calibrate it to get stops that need none.`,
    );
  if (spec.architecture === 'opt') {
    throw cannot("OPT's read a vector before its LayerNorm, which cannot be had from the one after it.");
  }
  if (threshold !== 0) {
    throw cannot(
      `They are made for the threshold ${threshold} on a vector before its RMSNorm; from the one after it, only a threshold of 0 can be kept.`,
    );
  }
  const values = layers.reduce((sum, { fc1, fc2 }) => sum + product(fc1.shape) + product(fc2.shape), 0);
  if (values > mostValues) {
    throw cannot(`They have ${(values / 1e9).toFixed(1)} billion values, more than Hunch reads (${mostValues / 1e9}).`);
  }
  const handle = await open(spec.path, 'r');
  try {
    const mlp: LowRankPredictor[] = [];
    for (const [layer, { fc1, fc2 }] of layers.entries()) {
      const norm = spec.tensors.find(({ name }) => name === `blk.${layer}.ffn_norm.weight`)!;
      const read = (tensor: typeof fc1): Promise<Float32Array> => readTensorValues(handle, tensor, vocabulary.fileName);
      const a = await read(fc1);
      if (!divideColumns(a, await read(norm))) {
        throw cannot(`In layer ${layer} they read places of a vector that the norm before the MLP takes away.`);
      }
      mlp.push({ source: 'same', rank: fc1.shape[1] ?? 1, relu: true, a, b: await read(fc2), bias: null });
    }
    return { mlp, heads: mlp.map(() => null) };
  } finally {
    await handle.close();
  }
}

const product = (shape: readonly number[]): number => shape.reduce((all, extent) => all * extent, 1);

/** False where a column cannot be divided; one of zeros need not be. */
function divideColumns(a: Float32Array, by: Float32Array): boolean {
  const width = by.length;
  const least = by.reduce((most, value) => Math.max(most, Math.abs(value)), 0) * smallestShare;
  for (let i = 0; i < a.length; i++) {
    const divisor = by[i % width] as number;
    if (a[i] === 0) continue;
    if (Math.abs(divisor) <= least) return false;
    a[i]! /= divisor;
  }
  return true;
}
