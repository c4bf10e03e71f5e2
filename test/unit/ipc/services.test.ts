import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { VerbInput, VerbName, VerbOutput } from '../../../electron/contract/channels';
import type { EngineStatus, Message } from '../../../electron/contract/entities';
import type { Envelope } from '../../../electron/contract/errors';
import type { AppEvent } from '../../../electron/contract/events';
import type { ReplyEvent } from '../../../electron/contract/stream';
import { fromChildProcess } from '../../../electron/engine/transport';
import { createDispatch } from '../../../electron/ipc/dispatch';
import { catalogue } from '../../../electron/models/catalogue';
import { createServices, type Services } from '../../../electron/services';

/** Everything behind the window, in plain Node: real database, settings and library; the engine is the double. */
const double = path.join(__dirname, '..', '..', 'fixtures', 'engineDouble.cjs');
const starter = catalogue[0]!;

let home: string;
let open: Services[] = [];
beforeEach(() => {
  home = mkdtempSync(path.join(tmpdir(), 'hunch-services-'));
  const models = path.join(home, 'models');
  mkdirSync(models);
  // A sparse file of the right size: what the library looks at.
  writeFileSync(path.join(models, starter.fileName), '');
  truncateSync(path.join(models, starter.fileName), starter.sizeBytes);
  writeFileSync(path.join(home, 'settings.json'), JSON.stringify({ defaultModelId: starter.id }));
});
afterEach(() => {
  open.splice(0).forEach((services) => services.close());
  rmSync(home, { recursive: true, force: true });
});

function start() {
  const events: AppEvent[] = [];
  const streams: Record<string, ReplyEvent[]> = {};
  const services = createServices({
    info: { dataFolder: home, modelsFolder: path.join(home, 'models') } as never,
    fork: () => fromChildProcess(fork(double, { serialization: 'advanced' })),
    broadcast: (event) => events.push(event),
    openStream: (id) => {
      const stream: ReplyEvent[] = (streams[id] = []);
      return (event) => stream.push(event);
    },
    applyTheme: () => {},
    askModelFile: async () => null,
    askSavePath: async () => null,
    askActivityFile: async () => null,
    confirmLink: async () => false,
    openExternal: async () => {},
    log: () => {},
  });
  open.push(services);
  const dispatch = createDispatch(
    services.handlers,
    () => true,
    () => {},
  );
  const own = { isMainWindow: true, isTopFrame: true, url: 'app://hunch/' };
  async function call<N extends VerbName>(verb: N, input?: VerbInput<N>): Promise<VerbOutput<N>> {
    // As IPC does it: only plain data passes, in both directions.
    const answer = structuredClone(await dispatch(own, verb, structuredClone(input))) as Envelope<VerbOutput<N>>;
    if (answer.ok) return answer.value;
    throw Object.assign(new Error(answer.error.message), answer.error);
  }
  const until = async <T>(look: () => T | undefined | false): Promise<T> => {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const found = look();
      if (found) return found;
      if (Date.now() > deadline) throw new Error('it did not happen within 10 s');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const done = (id: string): Promise<Message> =>
    until(() => {
      const last = streams[id]?.at(-1);
      return last?.type === 'done' && last.message;
    });
  const engineStates = (): EngineStatus['state'][] =>
    events.flatMap((event) => (event.type === 'engine' ? [event.status.state] : []));
  const send = async (chatId: string, text: string, parentId: string | null = null) =>
    call('reply.start', { chatId, messageId: randomUUID(), parentId, text });
  const close = (): void => {
    open = open.filter((one) => one !== services);
    services.close();
  };
  return { services, call, send, done, until, events, streams, engineStates, close };
}

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
