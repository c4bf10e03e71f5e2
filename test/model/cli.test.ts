import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { hunch } from '../unit/cli/captured';
import { stockModelId } from './starter';

const licence = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../LICENSE');
const json = async (...args: string[]): Promise<Record<string, unknown>> =>
  JSON.parse((await hunch(...args, '--json')).stdout) as Record<string, unknown>;

describe('hunch perplexity', () => {
  it('agrees with llama-perplexity on the same file, whatever the threads', async () => {
    const [one, two] = [
      await json('perplexity', licence, '-m', stockModelId, '--threads', '1'),
      await json('perplexity', licence, '-m', stockModelId, '--threads', '2'),
    ];
    // llama-perplexity -c 512 on this LICENSE: [1]14.1476 [2]13.2145 [3]14.3361 [4]15.9289, ± 1.42219
    expect(one).toMatchObject({ chunks: 4, scoredTokens: 4 * 255, contextLength: 512, bos: false, threads: 1 });
    expect(Math.abs((one['perplexity'] as number) / 15.9289 - 1)).toBeLessThan(0.005);
    expect(Math.abs((one['standardError'] as number) / 1.42219 - 1)).toBeLessThan(0.02);
    expect(two['threads']).toBe(2);
    expect(two['perplexity']).toBe(one['perplexity']);
  });

  it('says when the text is too short', async () => {
    const { stderr, exitCode } = await hunch('perplexity', licence, '--ctx-size', '4096');
    expect(stderr).toMatch(/has \d+ tokens; perplexity needs at least two windows of 4096/);
    expect(exitCode).toBe(1);
  });
});

describe('hunch bench', () => {
  it('measures speed and bandwidth; the hash does not depend on threads', async () => {
    const [one, two] = [
      await json('bench', '--repetitions', '1', '--threads', '1'),
      await json('bench', '--repetitions', '1', '--threads', '2'),
    ];
    for (const result of [one, two]) {
      expect((result['pp512'] as { mean: number }).mean).toBeGreaterThan(1);
      expect((result['tg128'] as { mean: number }).mean).toBeGreaterThan(1);
      expect(result['readGBps']).toBeGreaterThan(1);
      const bytes = result['weightBytesPerToken'] as number;
      expect(result['achievedGBps']).toBeCloseTo((bytes * (result['tg128'] as { mean: number }).mean) / 1e9, 6);
    }
    expect(one['logitsSha256']).toMatch(/^[0-9a-f]{64}$/);
    expect(two['logitsSha256']).toBe(one['logitsSha256']);
  });
});

describe('hunch run', () => {
  it('streams the reply to stdout and the figures to stderr', async () => {
    const { stdout, stderr, exitCode } = await hunch(
      'run',
      'What is the capital of France?',
      '--seed',
      '2',
      '-n',
      '30',
    );
    expect(stdout.trim().length).toBeGreaterThan(0);
    expect(stderr).toMatch(/37 prompt tokens, \d+ generated, first after \d+ ms, [\d.]+ tok\/s, (end|length)/);
    expect(exitCode).toBe(0);
  });

  it('answers with one object for --json, with the kernels asked for', async () => {
    const result = await json('run', 'Hi', '-n', '3', '--isa', 'scalar', '--threads', '1', '--seed', '7');
    expect(result).toMatchObject({ command: 'run', isa: 'scalar', threads: 1, seed: 7, prompt: 'Hi' });
    expect((result['stats'] as { generatedTokens: number }).generatedTokens).toBeLessThanOrEqual(3);
  });

  it('stops at Ctrl+C and keeps what was written', async () => {
    const before = process.listenerCount('SIGINT');
    const running = hunch('run', 'Write a very long story about a dragon.', '-n', '2000', '--temperature', '0');
    while (process.listenerCount('SIGINT') === before) await new Promise((resolve) => setTimeout(resolve, 20));
    await new Promise((resolve) => setTimeout(resolve, 600)); // some tokens
    process.emit('SIGINT');
    const { stdout, stderr, exitCode } = await running;
    expect(stderr).toMatch(/tok\/s, stopped/);
    expect(stdout.trim()).not.toBe('');
    expect(exitCode).toBe(130);
    expect(process.listenerCount('SIGINT')).toBe(before);
  });

  it('refuses a prompt that does not fit', async () => {
    const { stderr, exitCode } = await hunch('run', 'hello '.repeat(3000), '--ctx-size', '2048');
    expect(stderr).toMatch(/has 30\d\d tokens, but the context holds 2048/);
    expect(exitCode).toBe(1);
  });
});
