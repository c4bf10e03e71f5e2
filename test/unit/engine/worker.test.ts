import { spawn, fork, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { fromWorkerSchema, type FromWorker } from '../../../electron/engine/protocol';
import { request } from './helpers';

/** The real worker in a real child process. No model gets as far as the native engine, so a module that only finds no GPUs stands for it. */
const folder = mkdtempSync(path.join(tmpdir(), 'hunch-worker-'));
const worker = path.join(folder, 'worker.cjs');
const addon = path.join(folder, 'addon.cjs');
const onCpu = { device: 'cpu', gpuBudget: 0, memoryBudget: 0 };
const noGpus = { built: false, driver: '', gpus: [], problem: 'There is no NVIDIA driver on this computer.' };

beforeAll(async () => {
  await build({
    entryPoints: [path.join(__dirname, '..', '..', '..', 'electron', 'engine', 'worker.ts')],
    outfile: worker,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    target: 'node16',
    external: ['tokenizers', 'onnxruntime-node', '*.node'],
    logLevel: 'silent',
  });
  writeFileSync(addon, `exports.gpus = async () => (${JSON.stringify(noGpus)});`);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function withWorker(
  work: (child: ChildProcess, next: () => Promise<FromWorker>) => Promise<void>,
): Promise<void> {
  const modules = path.join(__dirname, '..', '..', '..', 'node_modules');
  const child = fork(worker, {
    serialization: 'advanced',
    env: { ...process.env, NODE_PATH: modules, HUNCH_ADDON: addon },
  });
  const arrived: FromWorker[] = [];
  const waiting: ((message: FromWorker) => void)[] = [];
  child.on('message', (raw) => {
    const message = fromWorkerSchema.parse(raw);
    const first = waiting.shift();
    if (first) first(message);
    else arrived.push(message);
  });
  const next = (): Promise<FromWorker> => {
    const message = arrived.shift();
    return message ? Promise.resolve(message) : new Promise((resolve) => waiting.push(resolve));
  };
  try {
    expect(await next()).toEqual({ type: 'ready' });
    await work(child, next);
  } finally {
    child.kill('SIGKILL');
  }
}

describe('the engine process', () => {
  it('refuses messages that do not fit, and lives on', () =>
    withWorker(async (child, next) => {
      for (const bad of [
        'text',
        42,
        {},
        { type: 'launch' },
        { type: 'load', loadId: 1 },
        { type: 'reply', replyId: 'r', request: {} },
      ]) {
        child.send(bad as object);
        expect(await next()).toMatchObject({ type: 'refused' });
      }
      child.send({ type: 'stop', replyId: 'unknown' });
      child.send({ type: 'forget', chatKey: 'unknown' });
      child.send({ type: 'nonsense' });
      expect(await next()).toMatchObject({ type: 'refused' });
    }));

  it('answers a load that fails with the model’s error', () =>
    withWorker(async (child, next) => {
      const missing = path.join(folder, 'missing.gguf');
      child.send({ type: 'load', loadId: 7, path: missing, threads: 0, contextLength: 512, ...onCpu });
      expect(await next()).toMatchObject({ type: 'load-failed', loadId: 7, error: { code: 'model-missing' } });

      const text = path.join(folder, 'text.gguf');
      writeFileSync(text, 'this is not a model '.repeat(100));
      child.send({ type: 'load', loadId: 8, path: text, threads: 0, contextLength: 512, ...onCpu });
      expect(await next()).toMatchObject({ type: 'load-failed', loadId: 8, error: { code: 'model-not-gguf' } });
    }));

  it('answers what GPUs there are without a model, and nothing else', () =>
    withWorker(async (child, next) => {
      child.send({ type: 'ask', askId: 1, ask: { kind: 'gpus' } });
      expect(await next()).toEqual({ type: 'answered', askId: 1, answer: { kind: 'gpus', report: noGpus } });
      child.send({ type: 'ask', askId: 2, ask: { kind: 'residency' } });
      expect(await next()).toMatchObject({ type: 'ask-failed', askId: 2, error: { code: 'engine-unavailable' } });
    }));

  it('answers a reply without a model with an error', () =>
    withWorker(async (child, next) => {
      child.send({ type: 'reply', replyId: 'r1', request: request('hello') });
      expect(await next()).toMatchObject({ type: 'failed', replyId: 'r1', error: { code: 'engine-unavailable' } });
    }));

  it('ends when the main process is gone', () =>
    withWorker(async (child) => {
      const exited = new Promise((resolve) => child.once('exit', resolve));
      child.disconnect();
      expect(await exited).toBe(0);
    }));

  it('does not run on its own', async () => {
    const child = spawn(process.execPath, [worker], { stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr.on('data', (chunk) => (errors += chunk));
    expect(await new Promise((resolve) => child.once('close', resolve))).not.toBe(0);
    expect(errors).toMatch(/Hunch starts it|Cannot find module/);
  });
});
