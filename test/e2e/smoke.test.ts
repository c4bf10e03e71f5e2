import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { greedy, repeatable, launchApp, temporaryHome, type RunningApp } from '../helpers/app';
import { composer, followReply, replies, send } from '../helpers/chat';

describe('a first start, with nothing but what is in the clone', () => {
  it('chats with the model that comes with Hunch', async () => {
    const empty = temporaryHome();
    const running = await launchApp({ models: empty, settings: { ...greedy, defaultModelId: undefined } });
    try {
      await send(running.page, 'What is the capital of France?');
      const reply = await followReply(running.page, () => {});
      expect(reply.status).toBe('complete');
      expect(reply.text).toContain('Paris');
    } finally {
      await running.close();
      rmSync(empty, { recursive: true, force: true });
    }
  });
});

describe('one question in the real window', () => {
  let running: RunningApp;
  beforeAll(async () => {
    running = await launchApp({ settings: repeatable });
  });
  afterAll(() => running?.close());

  it('streams a reply and says how fast it was made', async () => {
    const { page } = running;
    const pieces: string[] = [];
    await send(page, 'What is the capital of France?');
    const reply = await followReply(page, (text) => text && pieces.push(text));

    expect(reply.status).toBe('complete');
    expect(reply.text.length).toBeGreaterThan(0);
    expect(pieces.join('').endsWith(reply.text.slice(-10))).toBe(true);
    const speed = Number(/([\d.,]+)\s*tok\/s/.exec(reply.stats)?.[1]?.replace(',', ''));
    expect(speed).toBeGreaterThan(1);

    const conversation = page.getByRole('log', { name: 'Conversation' });
    expect(await conversation.textContent()).toContain('What is the capital of France?');
    expect(await replies(page).count()).toBe(1);
    expect(await composer(page).inputValue()).toBe('');
  });

  it('keeps the page away from Node', async () => {
    const found = await running.page.evaluate(() => ({
      require: typeof (globalThis as { require?: unknown }).require,
      process: typeof (globalThis as { process?: unknown }).process,
    }));
    expect(found).toEqual({ require: 'undefined', process: 'undefined' });
  });
});
