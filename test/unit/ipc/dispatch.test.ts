import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { verbs, type VerbName } from '../../../electron/contract/channels';
import { HunchError } from '../../../electron/contract/errors';
import { createDispatch, type Handlers, type Sender } from '../../../electron/ipc/dispatch';
import { isOwnUrl } from '../../../electron/window/assets';

const sparsity = { position: 0.5, correction: false, speculation: false };

const own: Sender = { isMainWindow: true, isTopFrame: true, url: 'app://hunch/index.html' };

function setup(overrides: Partial<Record<VerbName, (input: unknown) => unknown>> = {}) {
  const calls: [string, unknown][] = [];
  const log: string[] = [];
  const handlers = Object.fromEntries(
    Object.keys(verbs).map((verb) => [
      verb,
      overrides[verb as VerbName] ?? ((input: unknown) => (calls.push([verb, input]), 'done')),
    ]),
  ) as unknown as Handlers;
  return { dispatch: createDispatch(handlers, isOwnUrl, (line) => log.push(line)), calls, log };
}

describe('dispatch', () => {
  it('runs the verb with its parsed input and wraps the value', async () => {
    const { dispatch, calls } = setup();
    const chatId = randomUUID();
    expect(await dispatch(own, 'chats.rename', { chatId, title: '  Trimmed  ' })).toEqual({ ok: true, value: 'done' });
    expect(await dispatch(own, 'chats.list', undefined)).toEqual({ ok: true, value: 'done' });
    expect(calls).toEqual([
      ['chats.rename', { chatId, title: 'Trimmed' }],
      ['chats.list', undefined],
    ]);
  });

  it.each<[string, Partial<Sender>]>([
    ['another window', { isMainWindow: false }],
    ['an iframe', { isTopFrame: false }],
    ['a website', { url: 'https://hunch.example/index.html' }],
    ['a file', { url: 'file:///index.html' }],
    ['a data page', { url: 'data:text/html,app://hunch/' }],
    ['another host of the scheme', { url: 'app://hunch.example/index.html' }],
    ['a host with a port', { url: 'app://hunch:8080/index.html' }],
    ['a user name that looks like the host', { url: 'app://hunch@evil/index.html' }],
    ['a frame that is gone', { url: '' }],
    ['no address', { url: 'not a url' }],
  ])('refuses %s before anything else', async (_who, change) => {
    const { dispatch, calls, log } = setup();
    expect(await dispatch({ ...own, ...change }, 'chats.list', undefined)).toMatchObject({
      ok: false,
      error: { code: 'bad-request' },
    });
    expect(calls).toEqual([]);
    expect(log.join()).toMatch(/refused/);
  });

  it.each([
    'chats.drop',
    '',
    'toString',
    '__proto__',
    'constructor',
    'hasOwnProperty',
    7,
    null,
    undefined,
    {},
    ['chats.list'],
    'chats.list ',
  ])('refuses the unknown verb %j', async (verb) => {
    const { dispatch, calls } = setup();
    expect(await dispatch(own, verb, undefined)).toMatchObject({ ok: false, error: { code: 'bad-request' } });
    expect(calls).toEqual([]);
  });

  it.each<[VerbName, unknown]>([
    ['chats.list', {}],
    ['chats.list', null],
    ['chats.get', undefined],
    ['chats.get', { chatId: 'not-a-uuid' }],
    ['chats.get', { chatId: "' OR 1=1 --" }],
    ['chats.get', { chatId: randomUUID(), extra: 1 }],
    ['chats.get', JSON.parse('{"chatId":"x","__proto__":{"admin":true}}')],
    ['chats.rename', { chatId: randomUUID(), title: '   ' }],
    ['chats.rename', { chatId: randomUUID(), title: 'x'.repeat(201) }],
    ['chats.search', { query: 'x'.repeat(1001) }],
    ['chats.configure', { chatId: randomUUID(), sampling: { temperature: -1 } }],
    ['chats.configure', { chatId: randomUUID(), sparsity: { position: 0.5 } }],
    ['chats.configure', { chatId: randomUUID(), sparsity: { ...sparsity, position: 1.01 } }],
    ['chats.configure', { chatId: randomUUID(), sparsity: { ...sparsity, position: Number.NaN } }],
    ['chats.configure', { chatId: randomUUID(), sparsity: { ...sparsity, correction: 'yes' } }],
    ['chats.configure', { chatId: randomUUID(), sparsity: { ...sparsity, extra: 1 } }],
    ['settings.set', { defaultSparsity: { ...sparsity, position: -0.1 } }],
    ['sparsity.state', {}],
    ['sparsity.calibrate', { modelId: 'another' }],
    ['sparsity.cancelCalibration', null],
    ['chats.export', { chatId: randomUUID(), format: '../../etc' }],
    ['settings.set', { theme: 'neon' }],
    ['settings.set', { threads: 1.5 }],
    ['settings.set', { threads: Number.NaN }],
    ['settings.set', { unknown: true }],
    ['settings.set', 'theme'],
    ['models.select', { modelId: '' }],
    ['models.select', { modelId: ['a'] }],
    ['app.openLink', { url: 'nonsense' }],
    ['reply.start', { chatId: randomUUID(), messageId: randomUUID(), parentId: null, text: '' }],
    ['reply.start', { chatId: randomUUID(), messageId: randomUUID(), parentId: null, text: 42 }],
    ['reply.start', { chatId: randomUUID(), messageId: randomUUID(), text: 'no parent' }],
    ['reply.start', { chatId: randomUUID(), messageId: randomUUID(), parentId: null, text: 'x'.repeat(4_000_001) }],
    ['reply.stop', { messageId: new Map() }],
  ])('refuses input of %s that does not fit', async (verb, input) => {
    const { dispatch, calls } = setup();
    const answer = await dispatch(own, verb, input);
    expect(answer).toMatchObject({ ok: false, error: { code: 'bad-request' } });
    expect((answer as { error: { message: string } }).error.message).toContain(verb);
    expect(calls).toEqual([]);
  });

  it('passes on an error that was written for people', async () => {
    const { dispatch } = setup({
      'chats.list': () => {
        throw new HunchError('disk-full', 'Free some space.');
      },
    });
    expect(await dispatch(own, 'chats.list', undefined)).toEqual({
      ok: false,
      error: { code: 'disk-full', message: 'Free some space.' },
    });
  });

  it('keeps the details of any other error in the log', async () => {
    const { dispatch, log } = setup({
      'chats.list': async () => {
        throw new Error('secret at /home/someone');
      },
    });
    const answer = await dispatch(own, 'chats.list', undefined);
    expect(answer).toMatchObject({
      ok: false,
      error: { code: 'internal', message: expect.stringMatching(/Try again/) },
    });
    expect(JSON.stringify(answer)).not.toContain('secret');
    expect(log.join()).toContain('secret at /home/someone');
    const thrown = setup({
      'chats.list': () => {
        throw null;
      },
    });
    expect(await thrown.dispatch(own, 'chats.list', undefined)).toMatchObject({
      ok: false,
      error: { code: 'internal' },
    });
  });
});
