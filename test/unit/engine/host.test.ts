import { describe, expect, it } from 'vitest';
import { HunchError } from '../../../electron/contract/errors';
import { collect, request, sleep, startHost } from './helpers';

describe('loading', () => {
  it('starts the process, reports progress and is ready with what was loaded', async () => {
    const { host, statuses } = startHost();
    const status = await host.select('model-a');
    expect(status).toEqual({
      state: 'ready',
      modelId: 'model-a',
      modelName: 'MODEL-A',
      contextLength: 4096,
      isa: 'scalar',
      threads: 1,
      device: null,
      deviceNote: null,
      loadProgress: null,
      error: null,
    });
    expect(statuses.map((one) => [one.state, one.loadProgress])).toEqual([
      ['starting', null],
      ['loading', 0],
      ['loading', 0.5],
      ['ready', null],
    ]);
  });

  it('loads again only when the model or its settings changed, in the same process', async () => {
    const { host, statuses, children, settings } = startHost();
    await host.select('a');
    await host.select('a');
    const loads = (): number => statuses.filter((one) => one.state === 'ready').length;
    expect(loads()).toBe(1);
    settings.contextLength = 512;
    expect((await host.select('a')).contextLength).toBe(512);
    await host.select('b');
    expect(loads()).toBe(3);
    expect(children).toHaveLength(1);
  });

  it('tells why a model cannot be loaded and can still load another one', async () => {
    const { host, children } = startHost();
    await expect(host.select('broken')).rejects.toMatchObject({
      code: 'model-not-gguf',
      message: 'broken is not a GGUF file.',
    });
    expect(host.status).toMatchObject({ state: 'stopped', modelId: 'broken', error: { code: 'model-not-gguf' } });
    expect(await host.select('fine')).toMatchObject({ state: 'ready', error: null });
    expect(children).toHaveLength(1);
  });

  it('keeps the loaded model when another one is not there', async () => {
    const { host } = startHost();
    await expect(host.select('gone')).rejects.toMatchObject({ code: 'model-missing' });
    expect(host.status).toMatchObject({
      state: 'stopped',
      modelId: 'gone',
      error: { code: 'model-missing', message: 'Get it first.' },
    });
    await host.select('fine');
    await expect(host.select('gone')).rejects.toMatchObject({ code: 'model-missing' });
    expect(host.status).toMatchObject({ state: 'ready', modelId: 'fine', error: null });
  });
});

describe('replies', () => {
  it('hand over the request and stream the text, then the statistics', async () => {
    const { host } = startHost();
    const { onEvent, text } = collect();
    const asked = request('echo', { systemPrompt: 'Be brief.', chatKey: 'c1' });
    const stats = await host.reply('r1', 'a', asked, onEvent).promise;
    expect(JSON.parse(text())).toEqual(asked);
    expect(stats).toMatchObject({ stopReason: 'end', generatedTokens: 1 });
  });

  it('load the model they need first', async () => {
    const { host } = startHost();
    await host.select('a');
    await host.reply('r1', 'slow-b', request('count 2'), () => {}).promise;
    expect(host.status.modelId).toBe('slow-b');
  });

  it('stream side by side with one model, and let another model wait', async () => {
    const { host } = startHost();
    const first = collect();
    const second = collect();
    const one = host.reply('r1', 'a', request('forever'), first.onEvent);
    const two = host.reply('r2', 'a', request('forever'), second.onEvent);
    await first.until('tick');
    await second.until('tick');
    const selected = host.select('b');
    await sleep(50);
    expect(host.status).toMatchObject({ state: 'ready', modelId: 'a' });
    one.stop();
    two.stop();
    expect(await one.promise).toMatchObject({ stopReason: 'stopped' });
    expect(await two.promise).toMatchObject({ stopReason: 'stopped' });
    expect(await selected).toMatchObject({ state: 'ready', modelId: 'b' });
  });

  it('stop at once while the model is still loading', async () => {
    const { host } = startHost();
    const { onEvent, text } = collect();
    const reply = host.reply('r1', 'slow', request('forever'), onEvent);
    await sleep(100);
    reply.stop();
    expect(await reply.promise).toBeNull();
    await host.select('slow');
    await sleep(50);
    expect(text()).toBe('');
  });

  it('fail with the engine’s error or the model’s', async () => {
    const { host } = startHost();
    await expect(host.reply('r1', 'a', request('overflow'), () => {}).promise).rejects.toMatchObject({
      code: 'context-overflow',
    });
    await expect(host.reply('r2', 'broken', request('count'), () => {}).promise).rejects.toMatchObject({
      code: 'model-not-gguf',
    });
    await expect(host.reply('r3', 'gone', request('count'), () => {}).promise).rejects.toMatchObject({
      code: 'model-missing',
    });
    expect(await host.reply('r4', 'a', request('count'), () => {}).promise).toMatchObject({ stopReason: 'end' });
  });

  it('survive an unreadable message from the process', async () => {
    const { host, log } = startHost();
    const { onEvent, text } = collect();
    expect(await host.reply('r1', 'a', request('garbage'), onEvent).promise).toMatchObject({ stopReason: 'end' });
    expect(text()).toBe('');
    expect(log.join()).toMatch(/unreadable/);
  });

  it('that do not stop when asked end with their process', async () => {
    const { host, waitFor, children } = startHost({ stopPatienceMs: 100 });
    const { onEvent, until } = collect();
    const reply = host.reply('r1', 'a', request('deaf'), onEvent);
    const failure = expect(reply.promise).rejects.toMatchObject({ code: 'engine-crashed' });
    await until('tick');
    reply.stop();
    await failure;
    await waitFor('ready');
    expect(children).toHaveLength(2);
  });
});

describe('a crash', () => {
  it('fails the running replies, says so, and starts the engine again with its model', async () => {
    const { host, statuses, children, waitFor, log } = startHost();
    const { onEvent, text } = collect();
    await expect(host.reply('r1', 'a', request('crash'), onEvent).promise).rejects.toMatchObject({
      code: 'engine-crashed',
      message: expect.stringContaining('signal SIGKILL'),
    });
    expect(text()).toBe('partial ');
    expect(host.status).toMatchObject({ state: 'crashed', modelId: 'a', error: { code: 'engine-crashed' } });
    expect(await waitFor('ready')).toMatchObject({ modelId: 'a', error: null });
    expect(statuses.map((one) => one.state)).toEqual([
      'starting',
      'loading',
      'loading',
      'ready',
      'crashed',
      'starting',
      'loading',
      'loading',
      'ready',
    ]);
    expect(children).toHaveLength(2);
    expect(log.join()).toMatch(/ended \(signal SIGKILL\)/);
    expect(await host.reply('r2', 'a', request('x', { continueText: 'partial ' }), onEvent).promise).toMatchObject({
      stopReason: 'end',
    });
    expect(text()).toContain('[after partial ]');
  });

  it('from outside (kill -9) is noticed while nothing runs', async () => {
    const { host, waitFor, statuses } = startHost();
    await host.select('a');
    process.kill(host.pid!, 'SIGKILL');
    await waitFor('crashed');
    await waitFor('ready');
    expect(statuses.some((one) => one.state === 'crashed')).toBe(true);
  });

  it('repeated three times within a minute ends the restarts, until a person decides', async () => {
    const { host, children, waitFor } = startHost();
    await expect(host.select('crash')).rejects.toMatchObject({ code: 'engine-unavailable' });
    expect(children).toHaveLength(3);
    expect(host.status).toMatchObject({
      state: 'crashed',
      error: { code: 'engine-unavailable', message: expect.stringMatching(/no longer restarts/) },
    });
    await sleep(100);
    expect(children).toHaveLength(3);
    await expect(host.reply('r1', 'crash', request('count'), () => {}).promise).rejects.toMatchObject({
      code: 'engine-unavailable',
    });
    expect(children).toHaveLength(3);

    expect(await host.select('fine')).toMatchObject({ state: 'ready' });
    await waitFor('ready');
    expect(await host.restart()).toMatchObject({ state: 'ready', modelId: 'fine' });
    expect(children).toHaveLength(5);
  });

  it('of a program that is not there counts as well', async () => {
    const { fork } = await import('node:child_process');
    const { fromChildProcess } = await import('../../../electron/engine/transport');
    const { host } = startHost({ fork: () => fromChildProcess(fork('/nowhere/engine.cjs', { stdio: 'ignore' })) });
    await expect(host.select('a')).rejects.toMatchObject({ code: 'engine-unavailable' });
  });
});

describe('restart and close', () => {
  it('restart interrupts what runs and does not count as a crash', async () => {
    const { host, children, statuses } = startHost();
    for (let i = 0; i < 4; i++) {
      const { onEvent, until } = collect();
      const reply = host.reply(`r${i}`, 'a', request('forever'), onEvent);
      const failure = expect(reply.promise).rejects.toMatchObject({ code: 'engine-crashed' });
      await until('tick');
      expect(await host.restart()).toMatchObject({ state: 'ready', modelId: 'a' });
      await failure;
    }
    expect(children).toHaveLength(5);
    expect(statuses.some((one) => one.state === 'crashed')).toBe(false);
  });

  it('restart tries again to find a model that was not there', async () => {
    let there = false;
    const { host } = startHost({
      findModel: async (id) => {
        if (!there) throw new HunchError('model-missing', 'Get it first.');
        return { id, name: id, path: id };
      },
    });
    await expect(host.select('late')).rejects.toMatchObject({ code: 'model-missing' });
    there = true;
    expect(await host.restart()).toMatchObject({ state: 'ready', modelId: 'late' });
  });

  it('close ends the process for good', async () => {
    const { host, children } = startHost();
    await host.select('a');
    const gone = new Promise((resolve) => children[0]!.once('exit', resolve));
    host.close();
    await gone;
    await sleep(50);
    expect(children).toHaveLength(1);
    expect(host.status.state).toBe('stopped');
    await expect(host.select('a')).rejects.toMatchObject({ code: 'engine-unavailable' });
  });
});

describe('a GPU', () => {
  it('is told to the process with its budgets, and named by the status', async () => {
    const { host, settings, children } = startHost();
    Object.assign(settings, { device: 'cuda', gpuBudget: 2 ** 30, memoryBudget: 2 ** 29 });
    expect(await host.select('a')).toMatchObject({ state: 'ready', device: 'Test GPU', deviceNote: null });
    const { onEvent, text } = collect();
    await host.reply('r1', 'a', request('options'), onEvent).promise;
    expect(JSON.parse(text())).toMatchObject({ device: 'cuda', gpuBudget: 2 ** 30, memoryBudget: 2 ** 29 });
    settings.gpuBudget = 2 ** 28;
    await host.reply('r2', 'a', request('options'), onEvent).promise;
    expect(text()).toContain('"gpuBudget":268435456');
    settings.device = 'auto';
    expect(await host.select('a')).toMatchObject({ device: null, deviceNote: 'The driver is too old.' });
    expect(children).toHaveLength(1);
  });

  it('that fails while a reply is written ends the process: all replies keep their text, a new process loads the model', async () => {
    const { host, settings, children, statuses, waitFor } = startHost();
    settings.device = 'cuda';
    const beside = collect();
    const other = host.reply('r0', 'a', request('forever'), beside.onEvent);
    const otherFails = expect(other.promise).rejects.toMatchObject({ code: 'gpu-failed' });
    await beside.until('tick');
    const { onEvent, text } = collect();
    await expect(host.reply('r1', 'a', request('gpu'), onEvent).promise).rejects.toMatchObject({
      code: 'gpu-failed',
      message: 'The GPU failed while it computed a token.',
    });
    await otherFails;
    expect(text()).toBe('partial ');
    expect(host.status).toMatchObject({ state: 'crashed', modelId: 'a', error: { code: 'gpu-failed' } });
    expect(await waitFor('ready')).toMatchObject({ device: 'Test GPU', error: null });
    expect(children).toHaveLength(2);
    expect(children[0]!.killed || children[0]!.exitCode !== null).toBe(true);
    expect(statuses.filter(({ state }) => state === 'crashed')).toHaveLength(1);
  });

  it('that keeps failing is not tried for ever, and the CPU is one setting away', async () => {
    const { host, settings, children, waitFor } = startHost();
    settings.device = 'cuda';
    for (let i = 0; i < 3; i++) {
      await expect(host.reply(`r${i}`, 'a', request('gpu'), () => {}).promise).rejects.toMatchObject({
        code: 'gpu-failed',
      });
      if (i < 2) await waitFor('ready');
    }
    await sleep(100);
    expect(host.status).toMatchObject({
      state: 'crashed',
      modelId: 'a',
      error: { code: 'gpu-failed', message: expect.stringMatching(/Run on the CPU/) },
    });
    expect(children).toHaveLength(3);
    settings.device = 'cpu';
    expect(await host.select('a')).toMatchObject({ state: 'ready', device: null, error: null });
    const { onEvent, text } = collect();
    await host.reply('r4', 'a', request('gpu', { continueText: 'partial ' }), onEvent).promise;
    expect(text()).toContain('[after partial ]');
  });

  it('that fails while a model is loaded leaves no process that CUDA was broken in', async () => {
    const { host, settings, children, statuses } = startHost();
    settings.device = 'cuda';
    await expect(host.select('faulty')).rejects.toMatchObject({ code: 'gpu-failed' });
    expect(host.status).toMatchObject({ state: 'stopped', modelId: 'faulty', error: { code: 'gpu-failed' } });
    expect(host.pid).toBeUndefined();
    settings.device = 'cpu';
    expect(await host.select('faulty')).toMatchObject({ state: 'ready', error: null });
    expect(children).toHaveLength(2);
    expect(statuses.some(({ state }) => state === 'crashed')).toBe(false);
  });

  it('without memory for a reply leaves the process as it is', async () => {
    const { host, settings, children } = startHost();
    settings.device = 'cuda';
    await expect(host.reply('r1', 'a', request('gpu full'), () => {}).promise).rejects.toMatchObject({
      code: 'out-of-memory',
    });
    expect(host.status.state).toBe('ready');
    expect(children).toHaveLength(1);
  });

  it('can be asked for before any model is loaded, without a word in the status', async () => {
    const { host, statuses, children } = startHost();
    const [one, two] = await Promise.all([host.gpus(), host.gpus()]);
    expect(one).toEqual(two);
    expect(one).toMatchObject({ driver: '13.0', gpus: [{ name: 'Test GPU', memory: 2 ** 30, usable: true }] });
    expect(statuses).toEqual([]);
    expect(await host.select('a')).toMatchObject({ state: 'ready' });
    expect(children).toHaveLength(1);
  });
});
