import { open } from 'node:fs/promises';
import { describe, expect, it } from 'vitest';
import { stopPosition } from '../../electron/contract/sparsity';
import type { NativeModel, NativeSession, Plan, Predictors } from '../../electron/engine/addon';
import { loadAddon } from '../../electron/engine/native';
import { Runtime } from '../../electron/engine/runtime';
import { readFilePredictors } from '../../electron/models/filePredictors';
import { readModelFile } from '../../electron/models/gguf';
import { readTensorValues } from '../../electron/models/tensorValues';
import { constantPredictors, knowingPredictors, rewriteFixture, type Rewriting } from '../helpers/powerInferFile';
import { giveBrokenPack } from '../helpers/sparseModel';

const addon = loadAddon();
const text = Int32Array.from({ length: 200 }, (_, i) => 4 + ((i * i * 7 + i * 13) % 250));
const [width, neurons] = [32, 40]; // of the llama fixture

async function withModel<T>(file: string, run: (session: NativeSession, model: NativeModel) => Promise<T>): Promise<T> {
  const model = await addon.load((await readModelFile(file)).spec, { threads: 1 });
  const session = model.createSession({ contextLength: 512 });
  try {
    return await run(session, model);
  } finally {
    session.close();
    model.close();
  }
}

const balanced = (runtime: Runtime): Plan => runtime.sparsity.planAt(stopPosition('balanced'))!;

async function withRuntime<T>(file: string, run: (runtime: Runtime) => Promise<T>): Promise<T> {
  const runtime = await Runtime.open(file, { threads: 1, contextLength: 512 });
  try {
    return await run(runtime);
  } finally {
    await runtime.close();
  }
}

describe('a PowerInfer file', () => {
  it.each(['llama', 'opt'])('gives the logits of the same weights in a GGUF: %s', async (name) => {
    const plain = await rewriteFixture(name, { powerInfer: false });
    const file = await rewriteFixture(name, {
      powerInfer: true,
      keys: name === 'opt' ? { 'opt.context_length': 514 } : {}, // PowerInfer counts the table's rows
      more: () => constantPredictors(width, name === 'opt' ? 96 : neurons, 8, 1),
    });
    const logits = (of: string) => withModel(of, (session) => session.logits(text));
    expect((await readModelFile(file)).spec).toMatchObject({ activation: 'relu', trainedContext: 512 });
    expect(await logits(file)).toEqual(await logits(plain));
  });

  it('runs a Bamboo as a llama with dReLU', async () => {
    const renamed = await rewriteFixture('llama', {
      powerInfer: true,
      keys: { 'llama.feed_forward_activation': 'drelu' },
    });
    const { spec } = await readModelFile(renamed);
    const load = async (architecture: string): Promise<Float32Array> => {
      const model = await addon.load({ ...spec, architecture }, { threads: 1 });
      const session = model.createSession({ contextLength: 512 });
      const logits = await session.logits(text);
      session.close();
      model.close();
      return logits;
    };
    expect(await load('bamboo')).toEqual(await load('llama'));
  });
});

describe('its predictors', () => {
  const knowing = (): Promise<string> => rewriteFixture('llama', { powerInfer: true, more: knowingPredictors });

  it('become the stop balanced beside dense and exact', async () => {
    await withRuntime(await knowing(), async ({ sparsity }) => {
      expect(sparsity.state).toEqual({
        stops: ['dense', 'exact', 'balanced'],
        frontier: [],
        measured: null,
        problem: null,
      });
    });
  });

  it('name the neurons whose gates are open, as they read the vector before the norm', async () => {
    await withRuntime(await knowing(), async (runtime) => {
      const file = await readModelFile(runtime.spec.path);
      const folded = await readFilePredictors(file, file.predictors!);
      const handle = await open(runtime.spec.path);
      const asWritten = await Promise.all(
        file.predictors!.layers.map(({ fc1 }) => readTensorValues(handle, fc1, 'tiny.gguf')),
      ).finally(() => handle.close());
      const mistaken = { ...folded, mlp: folded.mlp.map((one, layer) => ({ ...one!, a: asWritten[layer]! })) };

      const session = runtime.openSession(512);
      session.setPlan(balanced(runtime));
      const measure = async (predictors?: Predictors) => {
        if (predictors) await runtime.model.setPredictors(predictors);
        const { kl, positions } = await session.compare(null, text, 0);
        session.activity();
        await session.bench(0, 100, 0, text);
        const { named, tokens } = session.activity();
        return { kl: kl / positions, named: named[1]! / tokens / neurons };
      };
      const own = await measure();
      const again = await measure(folded);
      const wrong = await measure(mistaken);
      session.close();
      expect(again).toEqual(own);
      expect(own.kl).toBeLessThan(1e-4);
      expect(own.named).toBeGreaterThan(0.2);
      expect(own.named).toBeLessThan(0.8);
      expect(wrong.kl).toBeGreaterThan(20 * own.kl);
    });
  });

  it('name a neuron whose score is the threshold', async () => {
    const file = await rewriteFixture('llama', {
      powerInfer: true,
      more: () => constantPredictors(width, neurons, 8, 0),
    });
    await withRuntime(file, async (runtime) => {
      const session = runtime.openSession(512);
      session.setPlan(balanced(runtime));
      const { kl, agree, positions } = await session.compare(null, text, 0);
      session.close();
      expect(kl).toBe(0);
      expect(agree).toBe(positions);
    });
  });

  it.each<[string, Parameters<typeof rewriteFixture>[0], Partial<Rewriting>, string]>([
    [
      'OPT',
      'opt',
      { keys: { 'opt.context_length': 514 }, more: () => constantPredictors(width, 96, 8, 1) },
      'LayerNorm',
    ],
    ['a threshold', 'llama', { keys: { 'powerinfer.sparse_threshold': { f32: 0.5 } }, more: knowingPredictors }, '0.5'],
    [
      'no number',
      'llama',
      { more: () => constantPredictors(width, neurons, 8, NaN) },
      '"blk.0.fc1.weight" of "tiny.gguf" holds a value that is no finite number',
    ],
    ['a rank', 'llama', { more: () => constantPredictors(width, neurons, 4100, 1) }, 'rank 4100'],
  ])('are left out with a sentence where they cannot be used: %s', async (_, name, rewriting, says) => {
    await withRuntime(await rewriteFixture(name, { powerInfer: true, ...rewriting }), async ({ sparsity }) => {
      const { stops, problem } = sparsity.state;
      expect(stops).toEqual(['dense', 'exact']);
      expect(problem).toMatch(/^The predictors in "tiny.gguf" are not used: /);
      expect(problem).toContain(says);
    });
  });

  it('leave the plans to a pack where there is one', async () => {
    const file = await knowing();
    giveBrokenPack(file);
    await withRuntime(file, async ({ sparsity }) => {
      expect(sparsity.state.stops).toEqual(['dense', 'exact']);
      expect(sparsity.state.problem).toContain('tiny.hunchpack');
    });
  });
});
