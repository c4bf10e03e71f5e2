import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultSampling } from '../../electron/contract/entities';
import type { Sparsity } from '../../electron/contract/sparsity';
import type { ReplyProgress } from '../../electron/engine/runtime';
import { Runtime } from '../../electron/engine/runtime';
import { exactPlan } from '../../electron/sparsity/position';
import { packPath } from '../../electron/sparsity/store';
import { giveBrokenPack, giveFrontier, linkStarter } from '../helpers/sparseModel';

const folder = mkdtempSync(path.join(tmpdir(), 'hunch-slider-'));
const file = linkStarter(folder);
const at = (position: number, also: Partial<Sparsity> = {}): Sparsity => ({
  position,
  correction: false,
  speculation: false,
  ...also,
});
let runtime: Runtime;
let chats = 0;

/** One greedy reply in a chat of its own. */
function ask(sparsity: Sparsity | undefined, onTokens: (tokens: number, chatKey: string) => void = () => {}) {
  const chatKey = `chat ${chats++}`;
  const events: ReplyProgress[] = [];
  const messages = [{ role: 'user' as const, text: 'Write a story about a lighthouse.' }];
  const sampling = { ...defaultSampling, temperature: 0, maxTokens: 120 };
  const running = runtime.reply({ chatKey, systemPrompt: '', messages, sampling, sparsity }, (event) => {
    events.push(event);
    if (event.type === 'text') onTokens(event.tokens, chatKey);
  });
  const made = (): string[] => events.flatMap((event) => (event.type === 'sparsity' ? [event.made] : []));
  return running.promise.then((result) => ({ ...result, made: made() }));
}

beforeAll(async () => {
  await giveFrontier(file);
  runtime = await Runtime.open(file, { contextLength: 512 });
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

describe('a place of the slider', () => {
  it('is among the stops of the pack', () => {
    expect(runtime.sparsity.state).toMatchObject({
      stops: ['dense', 'exact', 'careful', 'balanced', 'fast'],
      problem: null,
      measured: { machine: 'Test CPU, 2 threads', tokens: 2048 },
    });
    expect(runtime.sparsity.state.frontier).toHaveLength(5);
  });

  it('writes dense’s text at exact, and another one where neurons are left out', async () => {
    const dense = await ask(undefined);
    const exact = await ask(at(0.2));
    const fast = await ask(at(0.8));
    expect(dense.sparsity).toBe('dense');
    expect(exact).toMatchObject({ sparsity: 'exact', text: dense.text, made: ['exact'] });
    expect(fast.sparsity).toBe('fast');
    expect(fast.text).not.toBe(dense.text);
  });

  it('counts from the next token on when it is moved, and the trail tells', async () => {
    const dense = await ask(undefined);
    const moved = await ask(at(0), (tokens, chatKey) => {
      // Tokens come several at a time.
      if (tokens >= 30) runtime.setSparsity(chatKey, at(tokens < 70 ? 0.1 : 0.2));
    });
    expect(moved.text).toBe(dense.text);
    expect(moved.sparsity).toBe('dense → 10 % → exact');
    expect(moved.made).toEqual(['dense', 'dense → 10 %', 'dense → 10 % → exact']);
    const fast = await ask(at(0), (tokens, chatKey) => tokens >= 30 && runtime.setSparsity(chatKey, at(0.8)));
    expect(fast.sparsity).toBe('dense → fast');
    expect(fast.text).not.toBe(dense.text);
    expect(fast.text.slice(0, 60)).toBe(dense.text.slice(0, 60));
  });

  it('is left alone by another chat’s', async () => {
    const dense = await ask(undefined);
    const [one, two] = await Promise.all([
      ask(at(0.2), (tokens) => tokens >= 10 && runtime.setSparsity('nobody', at(1))),
      ask(at(0.8)),
    ]);
    expect(one).toMatchObject({ sparsity: 'exact', text: dense.text });
    expect(two.sparsity).toBe('fast');
  });
});

describe('the toggles', () => {
  it('keep dense’s text when drafts are checked, whatever drafts and wherever the slider goes', async () => {
    const dense = await ask(undefined);
    for (const position of [0, 0.2, 0.5, 0.8]) {
      const reply = await ask(at(position, { speculation: true }), (tokens, chatKey) => {
        if (tokens >= 30) runtime.setSparsity(chatKey, at(1, { speculation: true }));
      });
      const place = ['dense', 'exact', '50 %', 'fast'][[0, 0.2, 0.5, 0.8].indexOf(position)];
      expect(reply).toMatchObject({ text: dense.text, sparsity: `${place} + speculation` });
    }
  });

  it('correct only where something is lost', async () => {
    const exact = await ask(at(0.2, { correction: true }));
    expect(exact.sparsity).toBe('exact');
    const { layers, vocabulary } = exactPlan(30);
    const coarse = { layers: layers.map((layer) => ({ ...layer, gateThreshold: 0.5 })), vocabulary };
    await runtime.sparsity.use({
      predictors: null,
      plan: () => coarse,
      describe: () => 'coarse',
      state: () => ({ stops: ['dense', 'fastest'], frontier: [], measured: null, problem: null }),
    });
    const [plain, corrected] = [await ask(at(1)), await ask(at(1, { correction: true }))];
    expect([plain.sparsity, corrected.sparsity]).toEqual(['coarse', 'coarse + correction']);
    expect(plain.text).not.toBe(exact.text);
    expect(corrected.text).not.toBe(plain.text);
  });
});

describe('a pack that cannot be used', () => {
  it.each([
    ['damaged', (model: string) => giveBrokenPack(model), /sparsity pack "sparse\.hunchpack" is not used/],
    [
      'of another model',
      async (model: string) => {
        await giveFrontier(model);
        const json = path.join(packPath(model), 'pack.json');
        writeFileSync(json, readFileSync(json, 'utf8').replace(/("sha256": ")\w{4}/, '$1beef'));
      },
      /another model/,
    ],
  ])('is named, and the model runs without it: %s', async (name, spoil, problem) => {
    const own = mkdtempSync(path.join(tmpdir(), 'hunch-slider-'));
    const model = linkStarter(own);
    await spoil(model);
    const opened = await Runtime.open(model, { contextLength: 512 });
    try {
      expect(opened.sparsity.state, name).toMatchObject({ stops: ['dense', 'exact'], frontier: [] });
      expect(opened.sparsity.state.problem).toMatch(problem);
    } finally {
      await opened.close();
      rmSync(own, { recursive: true, force: true });
    }
  });

  it('is refused when the engine does not take its plans', async () => {
    const layers = [{ mlp: 'exact' as const, gateThreshold: 0, scoreThreshold: 0, headThreshold: null }];
    await expect(
      runtime.sparsity.use({
        predictors: null,
        plan: () => ({ layers, vocabulary: { bits: 0, margin: 0 } }),
        describe: () => 'wrong',
        state: () => ({ stops: ['dense', 'exact'], frontier: [], measured: null, problem: null }),
      }),
    ).rejects.toMatchObject({ code: 'bad-request' });
    expect((await ask(at(0.2))).sparsity).toBe('exact');
    expect(runtime.sparsity.state.stops).toEqual(['dense', 'exact']);
  });
});
