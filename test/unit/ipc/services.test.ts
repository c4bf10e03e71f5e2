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
