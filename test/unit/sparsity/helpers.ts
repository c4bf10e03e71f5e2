import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { ModelProtoSchema, TensorProtoSchema, type ModelProto, type TensorProto } from 'onnx-buf';
import { afterAll } from 'vitest';
import type { LowRankPredictor, Plan, Predictors } from '../../../electron/engine/addon';
import { encodePredictors } from '../../../electron/sparsity/onnx';
import { packModel, type Pack, type PackPredictors } from '../../../electron/sparsity/pack';
import type { PackTarget } from '../../../electron/sparsity/packFiles';
import { seededRandom } from '../../helpers/random';

export const spec = { architecture: 'llama', layers: 3, width: 8, ffnWidth: 20, heads: 4, kvHeads: 2 };
export const shape = { layers: 3, width: 8, neurons: 20, heads: 4 };
export const target: PackTarget = { sha256: 'ab'.repeat(32), spec };

export function floats(length: number, random: () => number): Float32Array {
  return Float32Array.from({ length }, () => random() * 2 - 1);
}

export function lowRank(rows: number, random: () => number, change: Partial<LowRankPredictor> = {}): LowRankPredictor {
  const rank = change.rank ?? 5;
  return {
    source: 'attention',
    rank,
    relu: true,
    a: floats(rank * shape.width, random),
    b: floats(rows * rank, random),
    bias: floats(rows, random),
    ...change,
  };
}

/** Layer 0: none of the MLP; layers 1 and 2: with and without Relu and bias; heads in layer 2. */
export function samplePredictors(seed = 1): Predictors {
  const random = seededRandom(seed);
  return {
    mlp: [
      null,
      lowRank(shape.neurons, random, { source: 'previous' }),
      lowRank(shape.neurons, random, { source: 'same', relu: false, bias: null, rank: 3 }),
    ],
    heads: [null, null, lowRank(shape.heads, random)],
  };
}

/** b · (relu?) (a · input) + bias, in double precision. */
export function scores(predictor: LowRankPredictor, rows: number, input: Float32Array): Float64Array {
  const { rank, a, b, bias, relu } = predictor;
  const low = Array.from({ length: rank }, (_, r) => {
    const sum = input.reduce((total, x, i) => total + x * a[r * input.length + i]!, 0);
    return relu ? Math.max(0, sum) : sum;
  });
  return Float64Array.from({ length: rows }, (_, n) =>
    low.reduce((total, x, r) => total + x * b[n * rank + r]!, bias?.[n] ?? 0),
  );
}

export function plan(mlp: Plan['layers'][number]['mlp'], gateThreshold = 0, bits: 0 | 2 | 4 = 0): Plan {
  return {
    layers: Array.from({ length: shape.layers }, () => ({
      mlp,
      gateThreshold,
      scoreThreshold: 0,
      headThreshold: null,
    })),
    vocabulary: { bits, margin: bits },
  };
}

export function infoOf(predictors: Predictors): PackPredictors {
  const info = (predictor: LowRankPredictor | null): PackPredictors['mlp'][number] =>
    predictor && { source: predictor.source, rank: predictor.rank, relu: predictor.relu, recall: 0.995, density: 0.2 };
  return { mlp: predictors.mlp.map(info), heads: predictors.heads.map(info) };
}

export function samplePack(predictors: Predictors | null = samplePredictors()): Pack {
  const none = { mlp: [null, null, null], heads: [null, null, null] };
  const fast = plan('screened', 0.1, 4);
  if (predictors) {
    fast.layers[1] = { mlp: 'predicted', gateThreshold: 0.05, scoreThreshold: -4.5, headThreshold: null };
    fast.layers[2] = { mlp: 'screened', gateThreshold: 0, scoreThreshold: -1, headThreshold: 0.25 };
  }
  const point = {
    tokensPerSecond: 200,
    speedup: 1,
    perplexityRatio: 1,
    kl: 0,
    agreement: 1,
    density: 1,
    bytesPerToken: 9e7,
  };
  return {
    format: 1,
    model: packModel(spec, { sha256: target.sha256, fileName: 'tiny.gguf' }),
    created: '2026-11-24T10:00:00Z',
    hunch: '0.1.0',
    predictors: predictors ? infoOf(predictors) : none,
    sensitivity: [2, 0, 1],
    stops: { exact: plan('exact'), balanced: plan('screened', 0), fast },
    frontier: [
      { stop: 'dense', ...point },
      { stop: 'exact', ...point, tokensPerSecond: 300, speedup: 1.5, density: 0.1 },
      {
        stop: 'fast',
        ...point,
        tokensPerSecond: 400,
        speedup: 2,
        perplexityRatio: 1.02,
        kl: 0.01,
        agreement: 0.9,
        density: 0.2,
      },
    ],
    measured: {
      date: '2026-11-24T10:00:00Z',
      machine: 'Zen 4, 2 cores',
      threads: 2,
      text: 'WikiText-2 test, 32 windows',
      tokens: 8192,
      command: 'hunch calibrate --model tiny.gguf',
    },
  };
}

/** The sample file, changed. */
export function changedOnnx(change: (model: ModelProto) => void, predictors = samplePredictors()): Uint8Array {
  const model = fromBinary(ModelProtoSchema, encodePredictors(predictors, shape));
  change(model);
  return toBinary(ModelProtoSchema, model);
}

export function tensor(name: string, dims: number[], values: Float32Array): TensorProto {
  const rawData = new Uint8Array(values.slice().buffer);
  return create(TensorProtoSchema, { name, dims: dims.map(BigInt), dataType: 1, rawData });
}

/** A folder of this test file's own, removed at its end. */
export function tempFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'hunch-packs-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** What the promise or call is refused with. */
export async function refusal(action: () => unknown): Promise<{ code: string; message: string }> {
  try {
    await action();
  } catch (error) {
    const { code, message } = error as { code: string; message: string };
    return { code, message };
  }
  throw new Error('It was not refused.');
}
