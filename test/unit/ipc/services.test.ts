import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { home, start, starter } from './helpers';

describe('the services together', () => {
  it('load the default model, chat, and keep it all over a restart', async () => {
    const first = start();
    first.services.begin();
    await first.until(() => first.services.engine.status.state === 'ready');
    await first.until(() => first.events.some((event) => event.type === 'models'));
    const chat = await first.call('chats.create');
    const { reply, user } = await first.send(chat.id, 'count 3');
    expect(await first.done(reply.id)).toMatchObject({
      text: '1 2 3 ',
      status: 'complete',
      stats: { generatedTokens: 3, stopReason: 'end' },
      provenance: { modelId: starter.id, modelName: starter.name, sampling: { seed: expect.any(Number) } },
    });
    expect(first.events.some((event) => event.type === 'chats' && event.chats[0]?.title === 'count 3')).toBe(true);
    first.close();

    const second = start();
    expect(await second.call('chats.get', { chatId: chat.id })).toMatchObject({
      title: 'count 3',
      messages: [
        { id: user!.id, text: 'count 3' },
        { id: reply.id, text: '1 2 3 ', status: 'complete' },
      ],
    });
    expect(second.services.notices).toEqual([]);
  });

  it('keep a reply’s text when the engine is killed, restart it, and continue', async () => {
    const { call, send, done, until, engineStates, streams, services } = start();
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'crash');
    expect(await done(reply.id)).toMatchObject({
      status: 'interrupted',
      text: 'partial ',
      error: { code: 'engine-crashed' },
    });
    expect(await call('chats.get', { chatId: chat.id })).toMatchObject({
      messages: [{}, { status: 'interrupted', text: 'partial ' }],
    });
    await until(() => services.engine.status.state === 'ready');
    expect(engineStates().filter((state) => state === 'crashed')).toHaveLength(1);

    streams[reply.id] = [];
    await call('reply.continue', { chatId: chat.id, messageId: reply.id });
    expect(await done(reply.id)).toMatchObject({
      id: reply.id,
      status: 'complete',
      text: expect.stringMatching(/^partial .*\[after partial \]$/),
    });
  });

  it('stop a reply when asked', async () => {
    const { call, send, done, until, streams } = start();
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'forever');
    await until(() => streams[reply.id]!.some((event) => event.type === 'text'));
    expect(await call('reply.stop', { messageId: reply.id })).toBeNull();
    expect(await done(reply.id)).toMatchObject({ status: 'stopped', text: expect.stringContaining('tick') });
  });

  it('load the model anew when the device or a budget changes, and say what it runs on', async () => {
    const { call, send, done, services, until, engineStates } = start();
    services.begin();
    await until(() => services.engine.status.state === 'ready');
    expect(await call('engine.status')).toMatchObject({ device: null, deviceNote: 'The driver is too old.' });
    const loads = (): number => engineStates().filter((state) => state === 'ready').length;
    await call('settings.set', { device: 'cuda', gpuBudgetMb: 1000, memoryBudgetMb: 500 });
    await until(() => services.engine.status.device === 'Test GPU');
    expect(loads()).toBe(2);
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'options');
    const { text } = await done(reply.id);
    expect(JSON.parse(text)).toMatchObject({ device: 'cuda', gpuBudget: 1000 * 2 ** 20, memoryBudget: 500 * 2 ** 20 });
    await call('settings.set', { device: 'cpu' });
    await until(() => loads() === 3);
    // On the CPU the GPU's share means nothing.
    await call('settings.set', { gpuBudgetMb: null });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(loads()).toBe(3);
    expect(await call('engine.gpus')).toMatchObject({ gpus: [{ name: 'Test GPU' }] });
  });

  it('let a running reply end before the device changes', async () => {
    const { call, send, done, services, until, streams } = start();
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'forever');
    await until(() => streams[reply.id]!.some((event) => event.type === 'text'));
    await call('settings.set', { device: 'cuda' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(services.engine.status).toMatchObject({ state: 'ready', device: null });
    await call('reply.stop', { messageId: reply.id });
    expect(await done(reply.id)).toMatchObject({ status: 'stopped' });
    await until(() => services.engine.status.device === 'Test GPU');
  });

  it.each([
    ['gpu', 'gpu-failed'],
    ['gpu full', 'out-of-memory'],
  ])('keep a reply’s text when the GPU gives up (%s), and go on with it on the CPU', async (script, code) => {
    const { call, send, done, services, until, streams } = start();
    await call('settings.set', { device: 'cuda' });
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, script);
    const message = 'The GPU failed while it computed a token.';
    expect(await done(reply.id)).toMatchObject({ status: 'interrupted', text: 'partial ', error: { code, message } });
    expect((await call('chats.get', { chatId: chat.id })).messages[1]).toMatchObject({
      status: 'interrupted',
      text: 'partial ',
      error: { code, message },
    });
    // As the button does it.
    await call('settings.set', { device: 'cpu' });
    streams[reply.id] = [];
    await call('reply.continue', { chatId: chat.id, messageId: reply.id });
    expect(await done(reply.id)).toMatchObject({
      status: 'complete',
      error: null,
      text: expect.stringMatching(/^partial .*\[after partial \]$/),
    });
    await until(() => services.engine.status.state === 'ready');
    expect(services.engine.status.device).toBeNull();
  });

  it('say where the loaded model’s neurons lie, and nothing without a model', async () => {
    const { call, services, until } = start();
    expect(await call('activity.residency')).toBeNull();
    services.begin();
    await until(() => services.engine.status.state === 'ready');
    expect(await call('activity.residency')).toEqual({
      ...{ gpu: Uint32Array.of(2, 0), memory: Uint32Array.of(1, 3), disk: Uint32Array.of(0, 1) },
      ...{ gpuBytes: 20, memoryBytes: 40, diskBytes: 10 },
      ...{ hits: 9, misses: 1, readBytes: 10, waitedSeconds: 0.5 },
    });
  });

  it('commit what was streaming when they are closed', async () => {
    const first = start();
    const chat = await first.call('chats.create');
    const { reply } = await first.send(chat.id, 'forever');
    const shown = (): string =>
      first.streams[reply.id]!.flatMap((event) => (event.type === 'text' ? [event.text] : [])).join('');
    await first.until(() => shown().length > 20);
    const seen = shown();
    first.close();
    const message = (await start().call('chats.get', { chatId: chat.id })).messages[1]!;
    expect(message.status).toBe('interrupted');
    expect(message.text.startsWith(seen)).toBe(true);
  });

  it('keep the message when there is no model, and say what to do', async () => {
    rmSync(path.join(home, 'models', starter.fileName));
    const { services, call, send, done, until } = start();
    services.begin();
    expect(await until(() => services.engine.status.error)).toMatchObject({ code: 'model-missing' });
    expect(services.engine.status).toMatchObject({ state: 'stopped', modelId: starter.id });
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'hello');
    expect(await done(reply.id)).toMatchObject({ status: 'failed', text: '', error: { code: 'model-missing' } });
    expect((await call('chats.get', { chatId: chat.id })).messages[0]).toMatchObject({
      text: 'hello',
      status: 'complete',
    });
    await expect(call('models.select', { modelId: '/etc/passwd' })).rejects.toMatchObject({ code: 'not-found' });
    await expect(call('models.select', { modelId: path.join(home, 'elsewhere.gguf') })).rejects.toMatchObject({
      code: 'not-found',
    });
  });

  it('move a chat’s slider while its reply is written, and remember where it stands', async () => {
    const first = start();
    const at = (position: number) => ({ position, correction: false, speculation: false });
    await first.call('settings.set', { defaultSparsity: at(0.4) });
    const chat = await first.call('chats.create');
    expect(chat.sparsity).toEqual(at(0.4));
    const { reply } = await first.send(chat.id, 'forever');
    await first.until(() => first.streams[reply.id]!.some((event) => event.type === 'text'));
    await first.call('chats.configure', { chatId: chat.id, sparsity: at(0.8) });
    await first.call('reply.stop', { messageId: reply.id });
    expect((await first.done(reply.id)).provenance!.sparsity).toBe('at 0.4 → at 0.8');
    expect(await first.call('sparsity.state')).toMatchObject({ modelId: starter.id, stops: ['dense', 'exact'] });
    expect(first.events).toContainEqual({ type: 'sparsity', state: await first.call('sparsity.state') });
    first.close();
    expect(await start().call('chats.get', { chatId: chat.id })).toMatchObject({
      sparsity: at(0.8),
      messages: [{}, { provenance: { sparsity: 'at 0.4 → at 0.8' } }],
    });
  });

  it('calibrate the loaded model until it is cancelled', async () => {
    const { services, call, until } = start();
    await expect(call('sparsity.calibrate')).rejects.toMatchObject({ code: 'engine-unavailable' });
    services.begin();
    await until(() => services.engine.status.state === 'ready');
    const ended = expect(call('sparsity.calibrate')).rejects.toMatchObject({ code: 'cancelled' });
    await until(() => services.engine.sparsity.state.calibration?.fraction === 0.5);
    expect(await call('sparsity.cancelCalibration')).toBeNull();
    await ended;
    expect((await call('sparsity.state')).calibration).toBeNull();
  });

  it('load again with new threads or context, and remember the settings', async () => {
    const { services, call, until, events } = start();
    services.begin();
    await until(() => services.engine.status.state === 'ready');
    await call('settings.set', { contextLength: 1024 });
    await until(() => services.engine.status.contextLength === 1024);
    await call('settings.set', { theme: 'dark' });
    expect(events.at(-1)).toMatchObject({ type: 'settings', settings: { theme: 'dark', contextLength: 1024 } });
    expect(start().services.settings.get()).toMatchObject({ theme: 'dark', contextLength: 1024 });
  });

  it('tell what was wrong with the files at the start', () => {
    writeFileSync(path.join(home, 'settings.json'), '{"theme":"neon"}');
    writeFileSync(path.join(home, 'hunch.db'), 'not a database '.repeat(500));
    const { services } = start();
    expect(services.notices.map((notice) => notice.code)).toEqual(['database-corrupt', 'bad-request']);
  });
});
