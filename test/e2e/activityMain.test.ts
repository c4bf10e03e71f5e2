import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Message } from '../../electron/contract/entities';
import { decodeFrame, decodeRecord } from '../../electron/contract/frames';
import type { WithApi } from '../helpers/api';
import { launchApp, repeatable, type RunningApp } from '../helpers/app';
import { answerDialogs } from '../helpers/dialogs';
import { starterId } from '../helpers/sparseModel';

/** The panel's verbs through all processes of the real app, without the panel. */
let running: RunningApp;
let replyId: string;

beforeAll(async () => {
  running = await launchApp({ hooks: ['dialogs.cjs'], settings: { ...repeatable, defaultModelId: starterId } });
  await ready();
});
afterAll(async () => {
  const ring = path.join(running.home, 'activity.ring');
  await running.close();
  expect(existsSync(ring)).toBe(false);
});

const ready = (): Promise<void> => running.page.getByRole('textbox', { name: 'Message', exact: true }).waitFor();

/** One reply, whatever is watched. Of frames a number that tells them apart crosses to the test, and the tenth as it is. */
const ask = (watch: boolean) =>
  running.page.evaluate(async (watch) => {
    const { api } = globalThis as unknown as WithApi;
    const chat = await api.chats.create();
    if (!chat.ok) throw new Error(chat.error.message);
    if (watch) await api.activity.watch({ mode: 'full', auditEvery: 4 });
    const text = 'Write a story about a lighthouse.';
    const messageId = crypto.randomUUID();
    const started = await api.reply.start({ chatId: chat.value.id, messageId, parentId: null, text });
    if (!started.ok) throw new Error(started.error.message);
    const { id } = started.value.reply;
    const events: { type: string; from: number; frames: (number | null)[] }[] = [];
    const message = await new Promise<Message>((resolve) =>
      api.onReply(id, (event) => {
        const told = event.type === 'frames' ? event : { from: 0, frames: [] };
        events.push({ type: event.type, from: told.from, frames: told.frames.map((frame) => frame && frame[4]!) });
        if (event.type === 'done') resolve(event.message);
      }),
    );
    const kept = await api.activity.reply({ messageId: id });
    if (!kept.ok) throw new Error(kept.error.message);
    const { total, tokens, frames } = kept.value;
    const tenth = frames[9] ? [...frames[9]] : null;
    return { id, text: message.text, events, total, tokens, frames: frames.map((frame) => frame && frame[4]!), tenth };
  }, watch);

describe('activations in the real app', () => {
  it('reach the page and the database, each frame with its token', async () => {
    const reply = await ask(true);
    replyId = reply.id;
    expect(reply.total).toBe(reply.tokens.length);
    expect(reply.tokens.map(({ text }) => text).join('')).toBe(reply.text);
    expect(reply.frames.findIndex((frame) => frame === null)).toBe(0);
    expect(reply.frames.lastIndexOf(null)).toBe(0);
    // What the page was sent, in the order in which it came.
    const received: (number | null)[] = [];
    for (const { from, frames } of reply.events) frames.forEach((frame, i) => (received[from + i] = frame));
    expect(received).toEqual(reply.frames);
    expect(decodeFrame(Uint8Array.from(reply.tenth!)).token).toBe(reply.tokens[8]!.id);
    expect(existsSync(path.join(running.home, 'activity.ring'))).toBe(true);
  });

  it('answer questions, and run the reply again to the same text', async () => {
    const answers = await running.page.evaluate(async (id) => {
      const { api } = globalThis as unknown as WithApi;
      const record = await api.activity.record({ source: id, index: 9 });
      const neuron = await api.activity.neuron({ source: id, layer: 3, neuron: 4 });
      const lens = await api.activity.lens({ source: id, index: 9 });
      const again = { mode: 'write' as const, edits: [], auditEvery: 0, maxTokens: null };
      const run = await api.activity.rerun({ messageId: id, position: null, ...again });
      const message = await api.activity.reply({ messageId: id, count: 0 });
      if (!record.ok || !neuron.ok || !lens.ok || !run.ok || !message.ok) throw new Error('an answer is missing');
      const { activity, text } = run.value;
      return {
        record: record.value && [...record.value],
        values: neuron.value.length,
        layers: lens.value.layers.length,
        text,
        tokens: activity.tokens.map((token) => token.text).join(''),
        hashes: [activity.modelHash, message.value.modelHash],
        total: message.value.total,
      };
    }, replyId);
    expect(decodeRecord(Uint8Array.from(answers.record!)).layers).toHaveLength(30);
    expect([answers.values, answers.layers]).toEqual([answers.total, 30]);
    expect(answers.tokens).toBe(answers.text);
    expect(answers.hashes[0]).toMatch(/^[0-9a-f]{64}$/);
    expect(answers.hashes[1]).toBe(answers.hashes[0]);
  });

  it('are saved and opened where the dialogs say', async () => {
    const file = path.join(running.home, 'view.hunchframes');
    await answerDialogs(running, { file });
    const opened = await running.page.evaluate(async () => {
      const { api } = globalThis as unknown as WithApi;
      await api.activity.save({ name: 'view', extension: 'hunchframes', bytes: new Uint8Array([1, 2, 3]) });
      const answer = await api.activity.open();
      return answer.ok && answer.value && { name: answer.value.name, bytes: [...answer.value.bytes] };
    });
    expect([...readFileSync(file)]).toEqual([1, 2, 3]);
    expect(opened).toEqual({ name: 'view.hunchframes', bytes: [1, 2, 3] });
  });

  it('are not captured any more once the page was loaded anew', async () => {
    await running.page.reload();
    await ready();
    const reply = await ask(false);
    expect(reply.text).not.toBe('');
    expect(reply.events.some(({ type }) => type === 'frames')).toBe(false);
    expect(reply.total).toBe(0);
  });

  it('take no more room than the settings allow', async () => {
    const { page } = running;
    await page.keyboard.press('Control+,');
    for (const name of ['Kept activations (MB)', 'Neuron records (MB)']) {
      await page.getByRole('textbox', { name }).fill('0');
      await page.keyboard.press('Enter');
    }
    await page.keyboard.press('Escape');
    const reply = await ask(true);
    expect(reply.total).toBe(reply.tokens.length);
    expect(reply.total).toBeGreaterThan(10);
    const kept = (): Promise<number> =>
      page.evaluate(async (id) => {
        const answer = await (globalThis as unknown as WithApi).api.activity.reply({ messageId: id });
        return answer.ok ? answer.value.frames.filter((frame) => frame !== null).length : -1;
      }, reply.id);
    await expect.poll(kept).toBe(0); // the last ones are on their way to the database for a moment
    expect(reply.events.some(({ frames }) => frames.some((frame) => frame !== null))).toBe(true); // the panel saw them
    const record = await page.evaluate(
      (id) => (globalThis as unknown as WithApi).api.activity.record({ source: id, index: 9 }),
      reply.id,
    );
    expect(record).toEqual({ ok: true, value: null });
  });
});
