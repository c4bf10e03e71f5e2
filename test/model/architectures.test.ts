import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { GenerateOptions, ModelSpec, NativeModel, NativeSession } from '../../electron/engine/addon';
import { loadAddon } from '../../electron/engine/native';
import { readModelFile } from '../../electron/models/gguf';
import { Tokenizer } from '../../electron/models/tokenizer';

/**
 * Tiny random models of every architecture against transformers (scripts/fixtures/make_models.py says how the expected
 * values came about). The prompt is longer than every window, attention chunk and batch.
 */
const folder = fileURLToPath(new URL('../fixtures/models/', import.meta.url));
const { prompt, lengths, continued, models } = JSON.parse(readFileSync(`${folder}expected.json`, 'utf8')) as {
  prompt: number[];
  lengths: number[]; // beginnings of the prompt whose logits are known
  continued: number; // tokens of the beginning that `models` continues greedily
  models: Record<string, number[]>;
};
const addon = loadAddon();
const tolerance = 1e-4;

function expected(name: string, vocabulary: number): { logits: Float32Array[]; nll: Float32Array } {
  const { buffer } = Uint8Array.from(readFileSync(`${folder}${name}.bin`));
  const values = new Float32Array(buffer);
  const logits = lengths.map((_, index) => values.subarray(index * vocabulary, (index + 1) * vocabulary));
  return { logits, nll: values.subarray(lengths.length * vocabulary) };
}

/** |found − wanted| / |wanted| */
function normalisedError(found: Float32Array, wanted: Float32Array): number {
  expect(found.length).toBe(wanted.length);
  const length = (values: Float32Array): number => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
  return length(found.map((value, index) => value - wanted[index]!)) / length(wanted);
}

const greedy: GenerateOptions = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 0, seed: 0, stopTokens: [] },
  maxTokens: 60,
};

async function withSession<T>(model: NativeModel, run: (session: NativeSession) => Promise<T>): Promise<T> {
  const session = model.createSession({ contextLength: 512 });
  try {
    return await run(session);
  } finally {
    session.close();
  }
}

describe.each(Object.keys(models))('%s', (name) => {
  const read = readModelFile(`${folder}${name}.gguf`);

  it.each(addon.info().isas.flatMap((isa) => [1, 2].map((threads) => ({ isa, threads }))))(
    'computes what transformers computes: $isa, $threads threads',
    async (options) => {
      const { spec } = await read;
      const wanted = expected(name, spec.vocabulary);
      const model = await addon.load(spec, options);
      try {
        await withSession(model, async (session) => {
          for (const [index, length] of lengths.entries()) {
            const logits = await session.logits(Int32Array.from(prompt.slice(0, length)));
            expect(normalisedError(logits, wanted.logits[index]!)).toBeLessThan(tolerance);
          }
          const nll = await session.score(Int32Array.from(prompt), 0);
          expect(normalisedError(nll, wanted.nll)).toBeLessThan(tolerance);

          const ids: number[] = [];
          const start = Int32Array.from(prompt.slice(0, continued));
          await session.generate(start, greedy, (event) => event.type === 'tokens' && ids.push(...event.ids));
          expect(ids).toEqual(models[name]);
        });
      } finally {
        model.close();
      }
    },
  );

  it('is told apart from a model read wrongly', async () => {
    const { spec } = await read;
    const { rope, window } = spec;
    const wanted = expected(name, spec.vocabulary);
    const off = <T extends { base: number }>(of: T): T => ({ ...of, base: of.base * 1.05 });
    const windowed = (change: Partial<NonNullable<typeof window>>): ModelSpec[] =>
      window ? [{ ...spec, window: { ...window, ...change } }] : [];
    const wrongs: ModelSpec[] = [
      { ...spec, normEpsilon: spec.normEpsilon + 0.01 },
      { ...spec, attentionScale: 0.3 },
      ...(name === 'opt' || name === 'mistral' ? [] : [{ ...spec, rope: off(rope) }]), // Mistral's layers all have windows
      ...(rope.scaling === 'none' ? [] : [{ ...spec, rope: { ...rope, scaling: 'none' as const } }]),
      ...windowed({ rope: off(window?.rope ?? rope) }),
      ...windowed({ positions: (window?.positions ?? 0) + 1 }),
      ...windowed({ pattern: 2 }),
    ];
    for (const wrong of wrongs) {
      const model = await addon.load(wrong, { threads: 1 });
      const logits = await withSession(model, (session) => session.logits(Int32Array.from(prompt)));
      model.close();
      expect(normalisedError(logits, wanted.logits.at(-1)!)).toBeGreaterThan(10 * tolerance);
    }
  });

  it('has a tokenizer that gives back what it was given', async () => {
    const tokenizer = new Tokenizer((await read).vocabulary);
    const text = 'he said: 12 naïve 漢字\n\n the end';
    expect(tokenizer.decode(await tokenizer.encode(text, { parseSpecial: false }))).toBe(text);
  });
});
