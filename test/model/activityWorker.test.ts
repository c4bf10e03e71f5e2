import { fork } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultSampling } from '../../electron/contract/entities';
import { decodeFrame, decodeRecord } from '../../electron/contract/frames';
import type { AskOf } from '../../electron/engine/activityProtocol';
import type { FramesProgress } from '../../electron/engine/activityTrail';
import { EngineHost } from '../../electron/engine/host';
import type { ReplyProgress } from '../../electron/engine/runtime';
import { fromChildProcess } from '../../electron/engine/transport';
import { giveFrontier, linkStarter } from '../helpers/sparseModel';

/** The real engine in its own process, as the main process uses it. */
const folder = mkdtempSync(path.join(tmpdir(), 'hunch-activity-worker-'));
const worker = path.join(folder, 'worker.cjs');
const ring = { path: path.join(folder, 'ring'), bytes: 32 * 2 ** 20 };
const root = path.join(__dirname, '..', '..');
const question = { role: 'user' as const, text: 'Write a story about a lighthouse.' };
const sampling = { ...defaultSampling, seed: 5, maxTokens: 60 };
const sparsity = { position: 0.2, correction: false, speculation: false };
let file: string;
let host: EngineHost;

beforeAll(async () => {
  file = linkStarter(folder);
  await giveFrontier(file);
  await build({
    entryPoints: [path.join(root, 'electron', 'engine', 'worker.ts')],
    ...{ outfile: worker, bundle: true, platform: 'node', format: 'cjs', target: 'node16', logLevel: 'silent' },
    external: ['tokenizers', 'onnxruntime-node', '*.node'],
  });
  const addon = process.env['HUNCH_ADDON'] ?? path.join(root, 'build', 'native', 'hunch.node');
  const env = { ...process.env, NODE_PATH: path.join(root, 'node_modules'), HUNCH_ADDON: addon };
  host = new EngineHost({
    fork: () => fromChildProcess(fork(worker, { serialization: 'advanced', env })),
    findModel: async (id) => ({ id, name: id, path: file }),
    settings: () => ({ threads: 0, contextLength: 512, device: 'cpu', gpuBudget: 0, memoryBudget: 0 }),
    ring: () => ring,
    onStatus: () => {},
    onSparsity: () => {},
    log: () => {},
  });
});
afterAll(() => {
  host.close();
  rmSync(folder, { recursive: true, force: true });
});

async function reply(source: string, chatKey = source) {
  const events: ReplyProgress[] = [];
  const request = { chatKey, systemPrompt: '', messages: [question], sampling, sparsity };
  await host.reply(source, 'sparse', request, (event) => events.push(event)).promise;
  const told = events.filter((event): event is FramesProgress => event.type === 'frames' && event.whole);
  return {
    source,
    events,
    text: events.map((event) => (event.type === 'text' ? event.text : '')).join(''),
    tokens: told.flatMap(({ tokens }) => tokens),
    frames: told.flatMap(({ frames }) => frames),
  };
}

const rerun = (of: Awaited<ReturnType<typeof reply>>, more: Partial<AskOf<'rerun'>> = {}): AskOf<'rerun'> => ({
  ...{ kind: 'rerun', runId: 'run', source: of.source, sampling, sparsity, mode: 'write' },
  written: { systemPrompt: '', messages: [question], text: of.text, tokens: of.tokens.map(({ id }) => id) },
  ...{ edits: [], auditEvery: 4, maxTokens: null },
  ...more,
});

describe('the engine’s process', () => {
  it('sends frames behind the text, and answers for each token', async () => {
    const before = await reply('unwatched');
    expect(before.frames).toEqual([]);
    expect(existsSync(ring.path)).toBe(false);
    host.activity.watch({ mode: 'full', auditEvery: 4 });
    const watched = await reply('watched');
    expect(watched.text).toBe(before.text);
    // Live ones, too, come behind the text of their tokens.
    let text = '';
    for (const event of watched.events) {
      if (event.type === 'text') text += event.text;
      if (event.type !== 'frames') continue;
      const before = watched.tokens.slice(0, event.from + event.tokens.length);
      expect(text.startsWith(before.map((token) => token.text).join(''))).toBe(true);
    }
    expect(watched.frames.filter((frame) => frame)).toHaveLength(59);
    expect(statSync(ring.path).size).toBeLessThanOrEqual(ring.bytes);
    for (const index of [1, 20, 59]) {
      const { record } = await host.ask<'record'>({ kind: 'record', source: 'watched', index });
      const frame = decodeFrame(watched.frames[index]!);
      expect(decodeRecord(record!)).toMatchObject({
        sequence: frame.sequence,
        layers: frame.layers,
        token: frame.token,
      });
    }
    const [values, rates, lens] = await Promise.all([
      host.ask<'neuron'>({ kind: 'neuron', source: 'watched', layer: 1, neuron: 2 }),
      host.ask<'rates'>({ kind: 'rates', source: null }),
      host.ask<'lens'>({ kind: 'lens', source: 'watched', index: 3, written: null }),
    ]);
    expect(values.values).toHaveLength(60);
    expect(rates.rates).toMatchObject({ tokens: 59, layers: 30, neurons: 1536 });
    expect(lens.layers).toHaveLength(30);
    expect((await host.ask<'hash'>({ kind: 'hash' })).sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('runs a reply again to the same tokens, and can be told to stop', async () => {
    const watched = await reply('again');
    const run = await host.ask<'rerun'>(rerun(watched), 'sparse');
    expect(run.tokens).toEqual(watched.tokens);
    expect(run.surprise).toHaveLength(60);
    const long = host.ask<'rerun'>(
      rerun(watched, { sampling: { ...sampling, temperature: 3, maxTokens: 400 } }),
      'sparse',
    );
    await new Promise((resolve) => setTimeout(resolve, 150));
    host.activity.cancelRerun();
    await expect(long).rejects.toMatchObject({ code: 'cancelled' });
  });

  it('ends a rerun when it is restarted, and captures again what it did before', async () => {
    const watched = await reply('third');
    const endless = { sampling: { ...sampling, temperature: 3, maxTokens: 400 } };
    const running = host.ask<'rerun'>(rerun(watched, endless), 'sparse');
    const settled = running.catch((error: { code: string }) => error.code);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await host.restart();
    expect(await settled).toBe('engine-crashed');
    // Remembered: the new process captures as well, but knows nothing of the old one's tokens.
    expect((await host.ask<'record'>({ kind: 'record', source: 'third', index: 5 })).record).toBeNull();
    expect((await reply('fourth')).frames.filter((frame) => frame)).toHaveLength(59);
    host.activity.watch({ mode: 'off', auditEvery: 0 });
    expect((await reply('fifth')).frames).toEqual([]);
  });
});

describe('the devices', () => {
  it('are listed by the engine’s process, whatever runs', async () => {
    const report = await host.gpus();
    if (report.gpus.length === 0) expect(report.problem).toMatch(/driver|CUDA|GPU/);
    for (const gpu of report.gpus) expect(gpu.usable).toBe(gpu.problem === '');
  });

  it('hold each neuron once', async () => {
    await host.select('sparse');
    const { residency } = await host.ask<'residency'>({ kind: 'residency' });
    const layers = Array.from(residency.gpu, (on, i) => on + residency.memory[i]! + residency.disk[i]!);
    // SmolLM2 135M, and no GPU is asked for.
    expect(layers).toEqual(Array.from({ length: 30 }, () => 1536));
    expect(residency).toMatchObject({ gpuBytes: 0, hits: expect.any(Number), waitedSeconds: expect.any(Number) });
    expect(residency.memoryBytes + residency.diskBytes).toBeGreaterThan(statSync(file).size * 0.8);
  });
});
