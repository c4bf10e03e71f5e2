import path from 'node:path';
import { expect, it } from 'vitest';
import type { Predictors } from '../../electron/engine/addon';
import { Runtime } from '../../electron/engine/runtime';
import { encodePredictors } from '../../electron/sparsity/onnx';
import { predictorKinds } from '../../electron/sparsity/names';
import { openReference } from '../../electron/sparsity/reference';
import { seededRandom } from '../helpers/random';

const models = path.resolve(__dirname, '..', 'fixtures', 'models');
const rank = 24;
const batch = 7;

/** Root of the squared differences over that of the squares. */
function distance(a: Float32Array, b: Float32Array): number {
  let [error, norm] = [0, 0];
  a.forEach((value, i) => {
    error += (value - b[i]!) ** 2;
    norm += b[i]! ** 2;
  });
  return Math.sqrt(error / norm);
}

/** The engine's int8 kernels beside onnxruntime-node on the same ONNX bytes, for every layer that has a predictor. */
async function compare(runtime: Runtime, predictors: Predictors): Promise<number[]> {
  const { model, spec } = runtime;
  await model.setPredictors(predictors);
  const { layers, width, ffnWidth: neurons, heads } = spec;
  const reference = await openReference(encodePredictors(predictors, { layers, width, neurons, heads }));
  const distances: number[] = [];
  const random = seededRandom(3);
  for (const kind of predictorKinds) {
    for (const layer of reference.layers[kind]) {
      // Great values beside small ones, as activations have them.
      const inputs = Float32Array.from({ length: batch * width }, (_, i) => (random() - 0.5) * (i % 11 === 0 ? 40 : 1));
      const theirs = await reference.run(layer, kind, inputs, batch);
      const ours = model.predict(layer, kind, inputs);
      expect(ours.length).toBe(batch * (kind === 'mlp' ? neurons : heads));
      distances.push(distance(ours, theirs));
    }
  }
  await reference.close();
  return distances;
}

it('what a calibration hands out is within 1e-3 of onnxruntime-node when the engine runs it', async () => {
  const runtime = await Runtime.open(path.join(models, 'opt.gguf'), { threads: 1, byNeuron: true });
  const calibration = await runtime.model.calibration({ sources: ['previous'], heads: true, contextLength: 256 });
  const random = seededRandom(1);
  for (let window = 0; window < 8; window++) {
    await calibration.capture(Int32Array.from({ length: 256 }, () => Math.floor(random() * runtime.vocabularySize)));
  }
  const predictors = await calibration.fit({ source: 'previous', rank, headRank: 8, relu: true });
  const distances = await compare(runtime, predictors);
  expect(distances).toHaveLength(2 * runtime.spec.layers);
  expect(Math.max(...distances)).toBeLessThan(1e-3);
  calibration.close();
  await runtime.close();
});

it('factors that were not rounded stay within the rounding of 8 bits', async () => {
  const runtime = await Runtime.open(path.join(models, 'opt.gguf'), { threads: 1, byNeuron: true });
  const random = seededRandom(2);
  const floats = (length: number): Float32Array => Float32Array.from({ length }, () => random() - 0.5);
  const { layers, width, ffnWidth } = runtime.spec;
  const mlp = Array.from({ length: layers }, (_, layer) => ({
    ...({ source: layer ? 'previous' : 'attention', rank, relu: false } as const),
    ...{ a: floats(rank * width), b: floats(ffnWidth * rank), bias: floats(ffnWidth) },
  }));
  const distances = await compare(runtime, { mlp, heads: mlp.map(() => null) });
  expect(Math.max(...distances)).toBeGreaterThan(1e-4); // else the other test would show nothing
  expect(Math.max(...distances)).toBeLessThan(1e-2);
  await runtime.close();
});
