import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { Chat, EngineStatus, ModelSummary } from '../../../electron/contract/entities';
import { HunchError } from '../../../electron/contract/errors';
import type { AppEvent } from '../../../electron/contract/events';
import { stoppedStatus } from '../../../electron/engine/host';
import { appHandlers } from '../../../electron/ipc/app';
import { chatHandlers } from '../../../electron/ipc/chats';
import { modelHandlers } from '../../../electron/ipc/models';
import { defaultSettings } from '../../../electron/settings';
import { message, openStore, temporaryFolder } from '../chats/helpers';

describe('app.openLink', () => {
  const setup = (agrees: boolean) => {
    const openExternal = vi.fn(async () => {});
    const confirmLink = vi.fn(async (_url: URL) => agrees);
    return { openExternal, confirmLink, handlers: appHandlers({ info: {} as never, confirmLink, openExternal }) };
  };

  it('opens after the person agreed, and only then', async () => {
    const yes = setup(true);
    expect(await yes.handlers['app.openLink']({ url: 'https://example.org/a?b' })).toEqual({ opened: true });
    expect(yes.confirmLink.mock.calls[0]![0].href).toBe('https://example.org/a?b');
    expect(yes.openExternal).toHaveBeenCalledWith('https://example.org/a?b');
    const no = setup(false);
    expect(await no.handlers['app.openLink']({ url: 'https://example.org/' })).toEqual({ opened: false });
    expect(no.openExternal).not.toHaveBeenCalled();
  });

  it.each([
    'http://example.org/',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'smb://host/share',
    'app://hunch/',
    'https://bank.example@evil.example/',
    'https://a:b@evil.example/',
  ])('refuses %s without asking', async (url) => {
    const { handlers, confirmLink, openExternal } = setup(true);
    await expect(handlers['app.openLink']({ url })).rejects.toMatchObject({ code: 'bad-request' });
    expect(confirmLink).not.toHaveBeenCalled();
    expect(openExternal).not.toHaveBeenCalled();
  });
});

describe('chats', () => {
  const sparsity = { position: 0.6, correction: true, speculation: false };
  function setup(savePath: string | null = null) {
    const { store } = openStore();
    const calls: string[] = [];
    const handlers = chatHandlers({
      store,
      replies: {
        stopChat: (id) => calls.push(`stop ${id}`),
        withLiveText: (messages) => messages.map((one) => ({ ...one, text: `${one.text}+live` })),
      },
      settings: () => ({ ...defaultSettings, defaultSystemPrompt: 'From settings.', defaultSparsity: sparsity }),
      onChanged: () => calls.push('changed'),
      forget: (id) => calls.push(`forget ${id}`),
      setSparsity: (id, { position }) =>
        calls.push(`${id} at ${position}, saved at ${store.chat(id).sparsity.position}`),
      askSavePath: async () => savePath,
    });
    const chat = handlers['chats.create'](undefined) as Chat;
    store.append(chat.id, [message('user', null, 'Hi')]);
    calls.length = 0;
    return { store, handlers, calls, chat };
  }

  it('begin with the settings’ defaults', () => {
    expect(setup().chat).toMatchObject({ systemPrompt: 'From settings.', sparsity });
  });

  it('take their place on the slider to the engine once it is saved', () => {
    const { handlers, calls, chat } = setup();
    const moved = { ...sparsity, position: 1 };
    expect(handlers['chats.configure']({ chatId: chat.id, sparsity: moved })).toMatchObject({ sparsity: moved });
    expect(handlers['chats.configure']({ chatId: chat.id, systemPrompt: 'x' })).toMatchObject({ sparsity: moved });
    expect(calls).toEqual([`${chat.id} at 1, saved at 1`]);
  });

  it('show text that is not saved yet', async () => {
    const { handlers, chat } = setup();
    expect(await handlers['chats.get']({ chatId: chat.id })).toMatchObject({ messages: [{ text: 'Hi+live' }] });
  });

  it('stop their reply and free its cache when removed, and announce the new list', () => {
    const { handlers, calls, chat } = setup();
    expect(handlers['chats.remove']({ chatId: chat.id })).toBeNull();
    expect(calls).toEqual([`stop ${chat.id}`, `forget ${chat.id}`, 'changed']);
    handlers['chats.restore']({ chatId: chat.id });
    handlers['chats.rename']({ chatId: chat.id, title: 'New' });
    expect(calls).toHaveLength(5);
  });

  it('are exported to the chosen file', async () => {
    const file = path.join(temporaryFolder(), 'out.md');
    const { handlers, chat } = setup(file);
    expect(await handlers['chats.export']({ chatId: chat.id, format: 'markdown' })).toEqual({ path: file });
    expect(readFileSync(file, 'utf8')).toContain('Hi+live');
    expect(await handlers['chats.export']({ chatId: chat.id, format: 'json' })).toEqual({ path: file });
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ format: 'hunch-chat' });
  });

  it('export nothing when the person cancels, and say so when the file cannot be written', async () => {
    const cancelled = setup(null);
    expect(await cancelled.handlers['chats.export']({ chatId: cancelled.chat.id, format: 'json' })).toBeNull();
    const folder = path.join(temporaryFolder(), 'a folder');
    mkdirSync(folder);
    const blocked = setup(folder);
    await expect(blocked.handlers['chats.export']({ chatId: blocked.chat.id, format: 'json' })).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining(folder),
    });
    expect(existsSync(folder)).toBe(true);
  });
});

describe('models', () => {
  const model = (id: string, state: ModelSummary['state']): ModelSummary => ({
    id,
    name: id,
    fileName: `${id}.gguf`,
    sizeBytes: 100,
    quantization: 'Q4_1',
    license: null,
    state,
    problem: null,
    source: 'catalogue',
  });

  function setup(status: Partial<EngineStatus> = {}, chosen: string | null = null) {
    const events: AppEvent[] = [];
    const selected: string[] = [];
    const defaults: string[] = [];
    let state: ModelSummary['state'] = 'absent';
    let time = 0;
    let step: (work: () => void) => void = () => {};
    const library = {
      list: async () => [model('small', state)],
      download: async (
        _id: string,
        options: { onProgress?: (p: { receivedBytes: number; totalBytes: number; source: string }) => void } = {},
      ) => {
        state = 'downloading';
        await new Promise<void>((resolve) => (step = (work) => (work(), resolve())));
        step = () => {};
        options.onProgress?.({ receivedBytes: 1, totalBytes: 100, source: 'test' });
        for (let received = 2; received <= 100; received++) {
          time += 10;
          options.onProgress?.({ receivedBytes: received, totalBytes: 100, source: 'test' });
        }
        if (failure) {
          state = 'absent';
          throw failure;
        }
        state = 'available';
        return model('small', state);
      },
      cancelDownload: vi.fn(),
      import: vi.fn(async (_file: string) => model('mine', 'available')),
    };
    let failure: Error | null = null;
    const handlers = modelHandlers({
      library,
      engine: {
        status: { ...stoppedStatus, ...status },
        select: async (id) => {
          selected.push(id);
          if (id === 'broken') throw new HunchError('model-invalid', 'No.');
          return { ...stoppedStatus, state: 'ready', modelId: id };
        },
      },
      makeDefault: (id) => defaults.push(id),
      broadcast: (event) => events.push(event),
      askModelFile: async () => chosen,
      log: () => {},
      now: () => time,
    });
    return {
      handlers,
      library,
      events,
      selected,
      defaults,
      go: () => step(() => {}),
      fail: (error: Error) => step(() => (failure = error)),
    };
  }
  const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 5));

  it('become the default once they are loaded', async () => {
    const { handlers, defaults } = setup();
    expect(await handlers['models.select']({ modelId: 'small' })).toMatchObject({ state: 'ready' });
    await expect(handlers['models.select']({ modelId: 'broken' })).rejects.toMatchObject({ code: 'model-invalid' });
    expect(defaults).toEqual(['small']);
  });

  it('announce a download, its progress ten times a second, and its end', async () => {
    const { handlers, events, go, selected } = setup();
    const done = handlers['models.download']({ modelId: 'small' });
    await settle();
    go();
    expect(await done).toMatchObject({ state: 'available' });
    const states = events.flatMap((event) => (event.type === 'models' ? [event.models[0]!.state] : []));
    expect(states).toEqual(['downloading', 'available']);
    const progress = events.filter((event) => event.type === 'download');
    expect(progress.length).toBeGreaterThanOrEqual(10);
    expect(progress.length).toBeLessThanOrEqual(12);
    expect(progress.at(-1)).toMatchObject({ receivedBytes: 100, totalBytes: 100, source: 'test' });
    expect(selected).toEqual([]);
  });

  it('are loaded after the download when the engine waited for them', async () => {
    const { handlers, go, selected } = setup({ modelId: 'small' });
    const done = handlers['models.download']({ modelId: 'small' });
    await settle();
    go();
    await done;
    expect(selected).toEqual(['small']);
  });

  it('announce the state after a failed download too', async () => {
    const { handlers, events, fail } = setup();
    const failed = expect(handlers['models.download']({ modelId: 'small' })).rejects.toMatchObject({
      code: 'download-failed',
    });
    await settle();
    fail(new HunchError('download-failed', 'No network.'));
    await failed;
    expect(events.at(-1)).toMatchObject({ type: 'models', models: [{ state: 'absent' }] });
  });

  it('are imported from the chosen file, announced, and loaded when the engine waited for them', async () => {
    const { handlers, library, events, selected } = setup({ modelId: 'mine' }, '/downloads/mine.gguf');
    expect(await handlers['models.import'](undefined)).toMatchObject({ id: 'mine' });
    expect(library.import).toHaveBeenCalledWith('/downloads/mine.gguf');
    expect(events.at(-1)!.type).toBe('models');
    expect(selected).toEqual(['mine']);
    const other = setup({ modelId: 'other' }, '/downloads/mine.gguf');
    await other.handlers['models.import'](undefined);
    expect(other.selected).toEqual([]);
  });

  it('are not imported when the person cancels the dialog', async () => {
    const { handlers, library } = setup();
    expect(await handlers['models.import'](undefined)).toBeNull();
    expect(library.import).not.toHaveBeenCalled();
  });
});
