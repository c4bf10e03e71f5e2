import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ModelLibrary } from '../../electron/models/library';
import { defaultModelId } from '../../electron/models/catalogue';
import { modelsFolder } from '../../electron/paths';
import { hunch } from '../unit/cli/captured';

let folder: string;
let model: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'hunch-disk-'));
  model = path.join(folder, 'starter.gguf');
  await copyFile((await new ModelLibrary(modelsFolder()).resolve(defaultModelId)).path, model);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the command says, without what depends on the clock. */
async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { stdout, stderr } = await hunch(...args, '--model', model, '--json');
  expect(stdout, stderr).not.toBe('');
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('--memory', () => {
  it('writes the same text and gives the same perplexity from disk, and keeps one file for it beside the model', async () => {
    for (const sparsity of ['dense', 'exact']) {
      const run = ['run', 'Name three rivers.', '-n', '24', '--temperature', '0', '--sparsity', sparsity];
      const whole = await json(...run);
      const { error, ...streamed } = await json(...run, '--memory', '66MB');
      expect(error).toBeUndefined();
      expect(streamed['text']).toBe(whole['text']);
    }
    const score = ['perplexity', path.join(__dirname, 'excerpt.txt'), '--ctx-size', '64', '--chunks', '1'];
    const { perplexity } = await json(...score);
    expect(perplexity).toEqual(expect.any(Number));
    expect((await json(...score, '--memory', '66MB'))['perplexity']).toBe(perplexity);
    expect((await readdir(folder)).sort()).toEqual(['starter.gguf', 'starter.gguf.neurons']);
  });

  it('says in a benchmark what lay where and what was read', async () => {
    const text = path.join(__dirname, 'excerpt.txt');
    const args = ['bench', '--pp', '0', '--tg', '32', '--reps', '1', '--sparsity', 'exact', '--text', text];
    const { residency } = (await json(...args, '--memory', '66MB')) as { residency: Record<string, number> };
    expect(residency['memoryBytes']).toBeLessThanOrEqual(66e6);
    expect(residency['diskNeurons']).toBeGreaterThan(0);
    expect(residency['hitShare']).toBeGreaterThan(0.1);
    expect(residency['hitShare']).toBeLessThan(1);
    expect(residency['readBytesPerToken']).toBeGreaterThan(0);
    expect(await json(...args)).not.toHaveProperty('residency');
    const shown = await hunch(...args, '--memory', '66MB', '--model', model);
    expect(shown.stdout).toMatch(/^disk +[\d.]+ % of the neurons asked for were in memory; [\d.]+ MB read per token/m);
  });

  it('names the least that does, and refuses what is no size', async () => {
    const small = await hunch('run', 'Hi', '--model', model, '--memory', '10MB');
    expect(small.exitCode).toBe(1);
    expect(small.stderr).toMatch(/budget of 9 MB is too small: what this model needs for every token takes \d+ MB/);
    for (const wrong of ['', '800', '0MB', '-1GB', '1TB', 'much']) {
      expect((await hunch('run', 'Hi', '--memory', wrong)).exitCode, wrong).toBe(1);
    }
  });
});
