import { copyFileSync, existsSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { stopLimits, stopNames, stopPosition, type CalibrationStatus } from '../../electron/contract/sparsity';
import { hashOf } from '../../electron/engine/modelPack';
import { Runtime } from '../../electron/engine/runtime';
import { calibrate } from '../../electron/sparsity/calibrate';
import { Journal } from '../../electron/sparsity/journal';
import { compareOn, keyOf, measureSpeeds, qualityOf } from '../../electron/sparsity/measure';
import { exactPlan } from '../../electron/sparsity/position';
import { loadPack, packPath, writePack } from '../../electron/sparsity/store';
import { calibrationText } from '../../electron/sparsity/text';
import { hunch } from '../unit/cli/captured';

/** Tiny random models: opt has ReLU, llama SiLU. They say nothing of speed, but everything else is the real thing. */
const fixtures = path.resolve(__dirname, '..', 'fixtures', 'models');
const open: Runtime[] = [];
afterEach(async () => {
  for (const runtime of open.splice(0)) await runtime.close();
});

function copyOf(name: string): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'hunch-calibrate-')), `${name}.gguf`);
  copyFileSync(path.join(fixtures, `${name}.gguf`), file);
  return file;
}

async function runtimeOf(file: string): Promise<Runtime> {
  const runtime = await Runtime.open(file, { threads: 1, byNeuron: true });
  open.push(runtime);
  return runtime;
}

const quick = { seconds: 5, signal: { aborted: false }, onStatus: () => {} };

describe('calibration text', () => {
  it('is the same every time, in kinds, its halves apart', async () => {
    const file = copyOf('opt');
    const texts = [];
    for (let i = 0; i < 2; i++) {
      const runtime = await runtimeOf(file);
      const session = runtime.openSession(512);
      const journal = new Journal(`${file}.journal-${i}`, 'x');
      const sample = 'A text of the user, long enough to be judged on. '.repeat(100);
      texts.push(await calibrationText(runtime, session, { tokens: 1800, sample, journal, onDocument: () => {} }));
      session.close();
    }
    expect(texts[1]).toEqual(texts[0]);
    const { search, heldOut, tokens } = texts[0]!;
    for (const half of [search, heldOut]) {
      expect(new Set(half.map(({ kind }) => kind))).toEqual(new Set(['chat', 'free', 'sample']));
      for (const window of half) expect(window.tokens.length - 1 - window.from).toBeGreaterThanOrEqual(16);
    }
    const keys = [...search, ...heldOut].map((window) => window.tokens.join());
    expect(new Set(keys).size).toBe(keys.length);
    expect(tokens).toBeGreaterThan(1800);
  });
});

describe('measuring', () => {
  it('finds that exact changes nothing and computes fewer neurons', async () => {
    const runtime = await runtimeOf(copyOf('opt'));
    const session = runtime.openSession(256);
    const text = Int32Array.from({ length: 200 }, (_, i) => (i * 37) % 250);
    const exact = exactPlan(runtime.spec.layers);
    const [first, second] = await measureSpeeds(session, [null, exact], {
      ...{ text, steps: 32, depth: 16, rounds: 3, neurons: runtime.spec.ffnWidth },
    });
    expect(first).toMatchObject({ density: 1, speedup: 1 });
    expect(second!.density).toBeGreaterThan(0.2);
    expect(second!.density).toBeLessThan(0.8);
    expect(second!.bytesPerToken).toBeLessThan(first!.bytesPerToken);
    const quality = qualityOf(await compareOn(session, exact, [{ tokens: text, from: 20 }]));
    expect(quality).toMatchObject({ ratio: 1, agreement: 1, positions: 179 });
  });
});

describe('calibrating', () => {
  it('writes a pack whose stops hold their limits, and takes it into use', async () => {
    const file = copyOf('opt');
    const runtime = await runtimeOf(file);
    const statuses: CalibrationStatus[] = [];
    const { path: written, pack } = await calibrate(runtime, { ...quick, onStatus: (status) => statuses.push(status) });
    expect(written).toBe(packPath(file));
    const loaded = await loadPack(file, { sha256: await hashOf(file), spec: runtime.spec });
    expect(loaded).toMatchObject({ problem: null, pack: { info: { frontier: pack.frontier } } });
    expect(pack.frontier[0]).toMatchObject({ stop: 'dense', speedup: 1, perplexityRatio: 1, density: 1 });
    for (const [i, { stop, perplexityRatio, speedup }] of pack.frontier.entries()) {
      expect(perplexityRatio).toBeLessThanOrEqual(1 + (stopLimits[stop] ?? 0) + 1e-9);
      expect(speedup).toBeGreaterThanOrEqual(i === 0 ? 1 : 0.99);
    }
    expect(runtime.sparsity.state).toMatchObject({ problem: null, frontier: pack.frontier });
    for (const { stop } of pack.frontier.slice(2)) {
      expect(runtime.sparsity.planAt(stopPosition(stop))).toEqual(pack.stops[stop as 'fast']);
    }
    const fractions = statuses.map(({ fraction }) => fraction);
    expect(fractions.every((fraction) => fraction >= 0 && fraction <= 1)).toBe(true);
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(new Set(statuses.map(({ phase }) => phase))).toEqual(
      new Set(['capture', 'thresholds', 'measuring', 'audit']),
    );
    expect(readdirSync(path.dirname(file)).sort()).toEqual(['opt.gguf', 'opt.hunchpack']);
  });

  it('stops when it is told to, and goes on from there', async () => {
    const file = copyOf('opt');
    const runtime = await runtimeOf(file);
    const signal = { aborted: false };
    const first: string[] = [];
    const stopAt = (status: CalibrationStatus): void => {
      first.push(status.phase);
      if (status.phase === 'thresholds') signal.aborted = true;
    };
    await expect(calibrate(runtime, { ...quick, signal, onStatus: stopAt })).rejects.toMatchObject({
      code: 'cancelled',
      message: expect.stringMatching(/go on from there/),
    });
    expect(existsSync(packPath(file))).toBe(false);
    const progress = `${packPath(file)}.progress.json`;
    const kept = Object.keys((JSON.parse(readFileSync(progress, 'utf8')) as { results: object }).results);
    expect(kept.filter((name) => name.startsWith('text'))).toHaveLength(
      first.filter((phase) => phase === 'capture').length - 1,
    );
    // What was written is not written again: changed by hand, it is found changed.
    const journal = JSON.parse(readFileSync(progress, 'utf8')) as { results: Record<string, number[]> };
    journal.results['text chat 0'] = [...journal.results['text chat 0']!, 7];
    writeFileSync(progress, JSON.stringify(journal));
    const { pack } = await calibrate(runtime, quick);
    expect(pack.measured!.tokens).toBeGreaterThan(500);
    expect(existsSync(progress)).toBe(false);
  });

  it('takes the plans of an older pack along only as far as they hold', async () => {
    const file = copyOf('opt');
    const runtime = await runtimeOf(file);
    const { pack } = await calibrate(runtime, quick);
    const harsh = exactPlan(runtime.spec.layers);
    harsh.layers.forEach((layer) => (layer.gateThreshold = 1e6)); // no neuron at all: the fastest there is
    const frontier = pack.frontier.map((point) => ({ ...point, speedup: 9, tokensPerSecond: 9 }));
    await writePack(file, { ...pack, stops: { ...pack.stops, careful: harsh }, frontier }, null);
    const again = await calibrate(runtime, quick);
    expect(Object.values(again.pack.stops).map(keyOf)).not.toContain(keyOf(harsh));
    expect(again.pack.frontier.every(({ speedup }) => speedup < 9)).toBe(true);
  });

  it('writes where it is told to when the model’s own folder is not for that, and is found there first', async () => {
    const file = copyOf('opt');
    const packFolder = path.join(path.dirname(file), 'models', 'of the person');
    const options = { threads: 1, byNeuron: true, packFolder };
    const runtime = await Runtime.open(file, options);
    open.push(runtime);
    const { path: written, pack } = await calibrate(runtime, quick);
    expect(written).toBe(path.join(packFolder, 'opt.hunchpack'));
    expect(readdirSync(path.dirname(file)).sort()).toEqual(['models', 'opt.gguf']);
    expect(runtime.sparsity.state.frontier).toEqual(pack.frontier);
    await writePack(file, { ...pack, frontier: pack.frontier.slice(0, 1), stops: {} }, null); // as if it came with the model
    const again = await Runtime.open(file, options);
    open.push(again);
    expect(again.sparsity.state.frontier).toEqual(pack.frontier);
    const elsewhere = await runtimeOf(file);
    expect(elsewhere.sparsity.state.frontier).toHaveLength(1);
  });

  it('refuses to write a pack that is of no use', async () => {
    const file = copyOf('llama');
    await expect(calibrate(await runtimeOf(file), quick)).rejects.toMatchObject({
      code: 'pack-invalid',
      message: expect.stringMatching(/^Tiny random llama gets no pack: /),
    });
    expect(readdirSync(path.dirname(file))).toEqual(['llama.gguf']);
  });
});

describe('hunch', () => {
  it('calibrates into a folder and prints the frontier', async () => {
    const file = copyOf('opt');
    const out = path.join(path.dirname(file), 'packs');
    const { stdout, exitCode } = await hunch('calibrate', '-m', file, '--seconds', '5', '--out', out, '--json');
    expect(exitCode).toBe(0);
    const result = JSON.parse(stdout) as { path: string; frontier: { stop: string }[] };
    expect(result).toMatchObject({ command: 'calibrate', path: path.join(out, 'opt.hunchpack') });
    // Which stops a model this small gets depends on the moment's speeds; that there are faster ones, in their order, does not.
    const stops = result.frontier.map(({ stop }) => stop);
    expect(stops[0]).toBe('dense');
    expect(stops.length).toBeGreaterThan(1);
    expect(stops).toEqual(stopNames.filter((name) => stops.includes(name)));
    expect(existsSync(packPath(file))).toBe(false);
  });

  it('benches every stop beside its perplexity and the oracle', async () => {
    const file = copyOf('opt');
    const text = path.join(path.dirname(file), 'text.txt');
    writeFileSync(text, 'Some words that are repeated often enough for two windows. '.repeat(40));
    const bench = ['bench', '-m', file, '--sparsity', 'all', '--text', text, '--chunks', '2', '--tg', '16', '-r', '3'];
    const { stdout } = await hunch(...bench, '--json');
    const { stops } = JSON.parse(stdout) as {
      stops: {
        stop: string;
        ratio: number;
        perplexity: number;
        bytesPerToken: number;
        oracle: { bytesPerToken: number } | null;
      }[];
    };
    expect(stops.map(({ stop }) => stop)).toEqual(['dense', 'exact']);
    expect(stops[0]).toMatchObject({ speedup: 1, ratio: 1, kl: 0, agreement: 1, density: 1, oracle: null });
    expect(stops[1]).toMatchObject({ ratio: 1, agreement: 1, positions: 2 * 255 });
    expect(stops[1]!.oracle!.bytesPerToken).toBeLessThan(stops[1]!.bytesPerToken);
    const alone = await hunch('perplexity', text, '-m', file, '--chunks', '2', '--sparsity', 'exact', '--json');
    const { perplexity, sparsity } = JSON.parse(alone.stdout) as { perplexity: number; sparsity: string };
    expect(sparsity).toBe('exact');
    expect(perplexity).toBeCloseTo(stops[1]!.perplexity, 4);
    const table = await hunch(...bench);
    expect(table.stdout).toMatch(/^dense .*\n^exact .* \| /m);
  });

  it('runs at a place of the slider, and says so', async () => {
    const file = copyOf('opt');
    const { stdout } = await hunch('run', 'Hi', '-m', file, '-n', '4', '--seed', '1', '--sparsity', 'exact', '--json');
    expect(JSON.parse(stdout)).toMatchObject({ sparsity: 'exact' });
    const plain = await hunch('run', 'Hi', '-m', file, '-n', '4', '--seed', '1', '--json');
    expect(JSON.parse(plain.stdout)).toMatchObject({
      sparsity: 'dense',
      text: (JSON.parse(stdout) as { text: string }).text,
    });
    const records = path.join(path.dirname(file), 'tasks.jsonl');
    writeFileSync(records, '{"query": "one two", "choices": ["three", "four"], "gold": 0}\n');
    const scored = await hunch('eval', records, '-m', file, '--sparsity', '0.2', '--json');
    expect(JSON.parse(scored.stdout)).toMatchObject({ command: 'eval', sparsity: 'exact', n: 1 });
  });

  it('says how to get a stop that is missing', async () => {
    const relu = copyOf('opt');
    const silu = copyOf('llama');
    for (const [args, says] of [
      [
        ['run', 'x', '-m', relu, '--sparsity', 'fast'],
        /has no stop fast, only dense, exact\. Run "hunch calibrate --model .*opt\.gguf"/,
      ],
      [['bench', '-m', silu, '--sparsity', '0.7'], /has no stop at 0\.7, only dense\. Run "hunch calibrate/],
      [['perplexity', relu, '-m', silu, '--sparsity', 'exact'], /has no stop exact: its neurons are never zero/],
      [['bench', '-m', relu, '--sparsity', 'all'], /--sparsity all needs a text/],
      [['bench', '-m', relu, '--density', '0.1'], /--density .* goes with --shape/],
    ] as [string[], RegExp][]) {
      const { stderr, exitCode } = await hunch(...args);
      expect(stderr).toMatch(says);
      expect(exitCode).toBe(1);
    }
  });
});
