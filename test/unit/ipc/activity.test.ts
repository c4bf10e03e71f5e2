import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { placeOfTrail } from '../../../electron/engine/sparsityTrail';
import { chosen, home, start } from './helpers';

const summary = { mode: 'summary', auditEvery: 0 } as const;

async function watched(text = 'count 5') {
  const app = start();
  await app.call('activity.watch', summary);
  const chat = await app.call('chats.create');
  const { reply, user } = await app.send(chat.id, text);
  const message = await app.done(reply.id);
  return { ...app, chat, user: user!, reply: message };
}

/** The double's, of token 1 on. */
const isFrame = (frame: Uint8Array | null | undefined, index: number): boolean =>
  frame?.byteLength === 70_000 && frame.every((value, i) => value === (i + index) % 251);

describe('watching', () => {
  it('streams frames with the text and keeps them with the message, over a restart', async () => {
    const { call, reply, streams, until, close } = await watched();
    const kinds = streams[reply.id]!.map(({ type }) => type);
    expect(kinds.filter((type) => type === 'frames')).toHaveLength(5);
    expect(kinds.indexOf('text')).toBeLessThan(kinds.indexOf('frames'));
    const whole = await call('activity.reply', { messageId: reply.id });
    expect(whole).toMatchObject({ messageId: reply.id, from: 0, total: 5, seed: reply.provenance!.sampling.seed });
    expect(whole.tokens).toEqual([1, 2, 3, 4, 5].map((n) => ({ id: n - 1, text: `${n} ` })));
    expect(whole.frames[0]).toBeNull();
    expect([1, 2, 3, 4].every((index) => isFrame(whole.frames[index], index))).toBe(true);
    await until(() => existsSync(path.join(home, 'hunch.db')));
    close();

    const later = start();
    const kept = await later.call('activity.reply', { messageId: reply.id, from: 1, count: 2 });
    expect(kept).toMatchObject({ from: 1, total: 5, sparsity: 'at 0.2', modelName: reply.provenance!.modelName });
    expect(kept.tokens.map(({ text }) => text)).toEqual(['2 ', '3 ']);
    expect(kept.frames.map((frame, i) => isFrame(frame, i + 1))).toEqual([true, true]);
    const head = await later.call('activity.reply', { messageId: reply.id, count: 0 });
    expect([head.tokens, head.frames, head.total]).toEqual([[], [], 5]);
  });

  it('remembers which model and version wrote the frames', async () => {
    const { call, reply, until } = await watched();
    let origin = await call('activity.reply', { messageId: reply.id, count: 0 });
    await until(() => {
      void call('activity.reply', { messageId: reply.id, count: 0 }).then((next) => (origin = next));
      return origin.modelHash !== '';
    });
    expect(origin).toMatchObject({ modelHash: 'c'.repeat(64), version: '1.2.3' });
  });

  it('ends when the page goes, and costs nothing then', async () => {
    const app = await watched();
    app.services.pageGone();
    const { reply } = await app.send(app.chat.id, 'count 3', app.reply.id);
    await app.done(reply.id);
    expect(app.streams[reply.id]!.some(({ type }) => type === 'frames')).toBe(false);
    expect(await app.call('activity.reply', { messageId: reply.id })).toMatchObject({
      total: 0,
      tokens: [],
      frames: [],
    });
  });

  it('goes on in a continued reply', async () => {
    const { call, send, done, streams, services, until } = start();
    await call('activity.watch', summary);
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'crash');
    await done(reply.id);
    await until(() => services.engine.status.state === 'ready');
    streams[reply.id] = [];
    await call('reply.continue', { chatId: chat.id, messageId: reply.id });
    await done(reply.id);
    const { tokens, total } = await call('activity.reply', { messageId: reply.id });
    expect(tokens.map(({ text }) => text)).toEqual(['partial ', '1 ', '2 ', '3 ', '[after partial ]']);
    expect(total).toBe(5);
    const first = streams[reply.id]!.find(({ type }) => type === 'frames');
    expect(first).toMatchObject({ from: 0 });
  });

  it('gives the ring to the engine', async () => {
    const { call, send, done } = start();
    await call('settings.set', { activityRingMb: 3 });
    await call('activity.watch', { mode: 'full', auditEvery: 16 });
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'captured');
    expect(JSON.parse((await done(reply.id)).text)).toEqual({
      type: 'capture',
      capture: { mode: 'full', auditEvery: 16 },
      ring: { path: path.join(home, 'activity.ring'), bytes: 3 * 2 ** 20 },
    });
  });
});

describe('questions', () => {
  it('are answered from the engine', async () => {
    const { call, reply } = await watched();
    expect(isFrame(await call('activity.record', { source: reply.id, index: 2 }), 2)).toBe(true);
    expect(await call('activity.record', { source: reply.id, index: 0 })).toBeNull();
    const values = await call('activity.neuron', { source: reply.id, layer: 0, neuron: 1 });
    expect(values).toEqual(Float32Array.of(0.5, NaN, -0.25, NaN, NaN));
    expect(await call('activity.neuron', { source: reply.id, layer: 9, neuron: 1 })).toEqual(
      new Float32Array(5).fill(NaN),
    );
    expect(await call('activity.rates', { source: null })).toEqual({
      ...{ tokens: 2, layers: 1, neurons: 3, active: Uint32Array.of(2, 0, 1) },
    });
  });

  it('have empty answers without a model', async () => {
    const { call } = start();
    const source = randomUUID();
    expect(await call('activity.record', { source, index: 0 })).toBeNull();
    expect(await call('activity.neuron', { source, layer: 0, neuron: 0 })).toEqual(new Float32Array(0));
    expect(await call('activity.rates', { source })).toMatchObject({ tokens: 0, layers: 0 });
    await expect(call('activity.lens', { source, index: 0 })).rejects.toMatchObject({ code: 'engine-unavailable' });
  });

  it('reach the engine’s death as its error', async () => {
    const { call, reply } = await watched();
    const lens = call('activity.lens', { source: reply.id, index: 1 });
    await expect(lens).rejects.toMatchObject({ code: 'engine-crashed' });
  });

  it('name no message that is not there', async () => {
    const { call, user } = await watched();
    for (const messageId of [randomUUID(), user.id]) {
      await expect(call('activity.reply', { messageId })).rejects.toMatchObject({ code: 'not-found' });
      await expect(
        call('activity.rerun', {
          ...{ messageId, position: null, mode: 'follow' },
          edits: [],
          auditEvery: 0,
          maxTokens: null,
        }),
      ).rejects.toMatchObject({ code: 'not-found' });
    }
  });

  it.each([
    ['activity.watch', { mode: 'all', auditEvery: 0 }],
    ['activity.watch', { mode: 'full', auditEvery: -1 }],
    ['activity.record', { source: 'not an id', index: 0 }],
    ['activity.record', { source: randomUUID(), index: 0.5 }],
    ['activity.neuron', { source: randomUUID(), layer: 5000, neuron: 0 }],
    ['activity.reply', { messageId: randomUUID(), count: 100_000 }],
    ['activity.save', { name: 'x', extension: 'exe', bytes: new Uint8Array(1) }],
    ['activity.save', { name: 'x', extension: 'png', bytes: 'text' }],
  ] as const)('that do not fit are refused: %s %#', async (verb, input) => {
    await expect(start().call(verb, input as never)).rejects.toMatchObject({ code: 'bad-request' });
  });
});

describe('running a reply again', () => {
  const again = { mode: 'follow' as const, edits: [], auditEvery: 4, maxTokens: 64 };

  it('asks with the reply’s own prompt, sampling, seed, place and tokens', async () => {
    const { call, chat, reply } = await watched();
    const edits = [{ kind: 'neuron', layer: 1, index: 2, action: 'clamp', value: 0.5 } as const];
    const run = await call('activity.rerun', { messageId: reply.id, position: 0.8, ...again, edits });
    const asked = JSON.parse(run.text) as Record<string, unknown>;
    expect(asked).toMatchObject({
      ...{ kind: 'rerun', source: reply.id, runId: run.runId, mode: 'follow', edits, auditEvery: 4, maxTokens: 64 },
      sampling: reply.provenance!.sampling,
      sparsity: { position: 0.8, correction: false, speculation: false },
      written: {
        ...{ systemPrompt: chat.systemPrompt, messages: [{ role: 'user', text: 'count 5' }] },
        ...{ text: '1 2 3 4 5 ', tokens: [0, 1, 2, 3, 4] },
      },
    });
    expect(run).toMatchObject({ tokensPerSecond: 12, surprise: Float32Array.of(1.5), kl: 0.25 });
    expect(run.activity).toMatchObject({
      ...{ messageId: reply.id, from: 0, total: 1, sparsity: 'at 0.8', tokens: [{ id: 7, text: 'x' }] },
      ...{ modelHash: 'c'.repeat(64), version: '1.2.3', seed: reply.provenance!.sampling.seed },
    });
    expect(isFrame(run.activity.frames[0], 1)).toBe(true);
    // The chat is as it was.
    expect((await call('chats.get', { chatId: chat.id })).messages).toHaveLength(2);
  });

  it('can be cancelled', async () => {
    const { call, reply } = await watched();
    const run = call('activity.rerun', {
      messageId: reply.id,
      position: null,
      ...again,
      mode: 'write',
      maxTokens: null,
    });
    const code = run.then(
      () => 'answered',
      (error: { code: string }) => error.code,
    );
    await call('activity.cancelRerun');
    expect(await code).toBe('cancelled');
  });

  it('waits until the reply has ended', async () => {
    const { call, send } = start();
    const chat = await call('chats.create');
    const { reply } = await send(chat.id, 'forever');
    await expect(call('activity.rerun', { messageId: reply.id, position: null, ...again })).rejects.toMatchObject({
      code: 'busy',
    });
  });

  it.each([
    ['balanced', 0.6, false],
    ['62 %', 0.62, false],
    ['fast + correction', 0.8, true],
    ['balanced → fast', 0.6, false],
    ['dense → exact → … → fastest', 0, false],
    ['fast + speculation', 0, false],
    ['', 0, false],
  ])('begins where the reply did: %s', (trail, position, correction) => {
    expect(placeOfTrail(trail)).toEqual({ position: expect.closeTo(position), correction, speculation: false });
  });
});

describe('files', () => {
  it('are saved under a safe name, whole, and nothing else is left', async () => {
    const { call } = start();
    const folder = path.join(home, 'out');
    mkdirSync(folder);
    const bytes = Uint8Array.from({ length: 1000 }, (_, i) => i % 256);
    const save = { name: '../a: view?', extension: 'hunchframes', bytes } as const;
    expect(await call('activity.save', save)).toBeNull();
    chosen.file = path.join(folder, 'view.hunchframes');
    expect(await call('activity.save', save)).toEqual({ path: chosen.file });
    expect(chosen.asked.at(-1)).toMatch(/^[^/\\:?]+\.hunchframes$/);
    expect(new Uint8Array(readFileSync(chosen.file))).toEqual(bytes);
    expect(await call('activity.open')).toEqual({ name: 'view.hunchframes', bytes });
    chosen.file = path.join(folder, 'missing', 'view.png');
    await expect(call('activity.save', { ...save, extension: 'png' })).rejects.toMatchObject({
      code: 'internal',
      message: expect.stringContaining('view.png'),
    });
    expect(readdirSync(folder)).toEqual(['view.hunchframes']);
  });

  it('are opened only if Hunch can have written them', async () => {
    const { call } = start();
    expect(await call('activity.open')).toBeNull();
    const open = async (name: string, make: (file: string) => void): Promise<unknown> => {
      chosen.file = path.join(home, name);
      make(chosen.file);
      return call('activity.open');
    };
    expect(await open('empty.json', (file) => writeFileSync(file, ''))).toEqual({
      ...{ name: 'empty.json', bytes: new Uint8Array(0) },
    });
    await expect(open('secret.txt', (file) => writeFileSync(file, 'x'))).rejects.toMatchObject({ code: 'bad-request' });
    await expect(open('folder.json', (file) => mkdirSync(file))).rejects.toMatchObject({ code: 'bad-request' });
    await expect(open('gone.json', () => {})).rejects.toMatchObject({ code: 'bad-request' });
    const huge = open('huge.hunchframes', (file) => {
      writeFileSync(file, '');
      truncateSync(file, 2 ** 28 + 1);
    });
    await expect(huge).rejects.toMatchObject({ code: 'bad-request', message: expect.stringContaining('at most 256') });
  });
});
