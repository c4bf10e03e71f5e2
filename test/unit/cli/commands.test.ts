import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ggufBytes, tinyLlama } from '../models/ggufFile';
import { hunch } from './captured';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hunch-cli-'));
  vi.stubEnv('HUNCH_MODELS', folder);
});
afterEach(() => vi.unstubAllEnvs());

describe('hunch models', () => {
  it('lists what is there and what could be', async () => {
    writeFileSync(path.join(folder, 'mine.gguf'), ggufBytes(tinyLlama()));
    writeFileSync(path.join(folder, 'bad.gguf'), 'not a model');
    const { stdout, stderr, exitCode } = await hunch('models');
    expect(stdout).toMatch(/^smollm2-135m-instruct-q4_1 {2}absent {2}98\.4 MB {2}Q4_1 {2}Apache-2\.0$/m);
    expect(stdout).toMatch(/^mine {2}available/m);
    expect(stdout).toMatch(/^bad {2}broken.*\n {4}.*is not a GGUF model/m);
    expect(stderr).toContain(folder);
    expect(exitCode).toBe(0);
  });

  it('prints one JSON object', async () => {
    const { stdout } = await hunch('models', '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      command: 'models',
      folder,
      models: [{ state: 'absent' }, { id: 'smollm2-135m-instruct-relu' }],
    });
  });

  it('--verify finds a file of the right size and wrong content', async () => {
    const { catalogue } = await import('../../../electron/models/catalogue');
    writeFileSync(path.join(folder, catalogue[0]!.fileName), Buffer.alloc(catalogue[0]!.sizeBytes));
    const { stderr, exitCode } = await hunch('models', '--verify');
    expect(stderr).toMatch(/is not the genuine SmolLM2/);
    expect(exitCode).toBe(1);
    expect((await hunch('pull', catalogue[0]!.id)).stderr).toMatch(/is not the genuine SmolLM2/);
  });
});

describe('an error', () => {
  it('is a sentence on stderr, exit code 1, nothing on stdout', async () => {
    const { stdout, stderr, exitCode } = await hunch('run', 'Hi', '-m', 'smollm2-135m-instruct-q4_1');
    expect(stderr).toMatch(/^hunch: SmolLM2 .* not downloaded yet .*"hunch pull smollm2-135m-instruct-q4_1"\.$/m);
    expect([stdout, exitCode]).toEqual(['', 1]);
  });

  it('is also the JSON object with --json', async () => {
    const { stdout, exitCode } = await hunch('bench', '--json', '--model', '/nowhere/x.gguf');
    expect(JSON.parse(stdout)).toMatchObject({ error: { code: 'model-missing' } });
    expect(exitCode).toBe(1);
    expect(JSON.parse((await hunch('pull', 'nope', '--json')).stdout)).toMatchObject({ error: { code: 'not-found' } });
  });

  it('names the text file that perplexity cannot read', async () => {
    const { stderr } = await hunch('perplexity', '/nowhere/text.txt');
    expect(stderr).toContain('/nowhere/text.txt cannot be read');
  });

  it('names the file and the line that eval cannot use', async () => {
    const file = path.join(folder, 'tasks.jsonl');
    writeFileSync(file, '{"context": "a", "continuation": " b"}\n{"query": "c"}\n');
    const { stdout, exitCode } = await hunch('eval', file, '--json');
    expect(JSON.parse(stdout)).toMatchObject({
      error: {
        code: 'bad-request',
        message: expect.stringMatching(/^tasks\.jsonl, line 2: it has the keys query, but/),
      },
    });
    expect(exitCode).toBe(1);
  });

  it('says that a benchmark of nothing is none', async () => {
    const { stderr, exitCode } = await hunch('bench', '--pp', '0', '--tg', '0');
    expect(stderr).toMatch(/--pp 0 and --tg 0 there is nothing to measure/);
    expect(exitCode).toBe(1);
  });

  it('names the option and what it takes', async () => {
    for (const [args, says] of [
      [['run', 'x', '--threads', '-1'], /--threads.*from 0 to 256/],
      [['run', 'x', '--temperature', 'hot'], /--temperature.*from 0 to 5/],
      [['bench', '--isa', 'mmx'], /--isa.*scalar, avx2, avx512, neon/],
      [
        ['bench', '--shape', 'gpt-9'],
        /--shape.*llama-3\.2-1b, llama-2-7b, prosparse-llama-2-7b, relu-starter-4b, qwen3-8b, opt-6\.7b/,
      ],
      [['bench', '--shape', 'opt-6.7b', '--model', 'x'], /--shape.*cannot be used with.*--model/],
      [['bench', '--type', 'q3_k'], /--type.*q4_0/],
      [['shape', 'llama-2-7b', '--type', 'q9'], /--type.*q8_0/],
      [['shape', 'huge'], /llama-2-7b/],
      [['eval', 'x', '--limit', '0'], /--limit.*from 1/],
      [['perplexity'], /missing required argument 'file'/],
      [['run', 'x', '--sparsity', 'turbo'], /--sparsity.*"turbo" is no place of the sparsity slider.*balanced/],
      [['bench', '--sparsity', '1.5'], /--sparsity.*from 0\.0 \(dense\) to 1\.0/],
      [['perplexity', 'x', '--sparsity', 'all'], /--sparsity.*no place/],
      [['bench', '--shape', 'opt-6.7b', '--density', '0.9'], /--density.*from 0\.001 to 0\.5/],
      [['calibrate', '--seconds', '1'], /--seconds.*from 5/],
      [['fly'], /unknown command 'fly'/],
    ] as [string[], RegExp][]) {
      const { stderr, exitCode } = await hunch(...args);
      expect(stderr).toMatch(says);
      expect(exitCode).toBe(1);
    }
  });
});
