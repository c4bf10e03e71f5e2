import type { Locator, Page } from 'playwright-core';
import { rmSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { greedy, launchApp, temporaryHome, type RunningApp } from '../helpers/app';
import {
  button,
  chatRow,
  composer,
  conversation,
  followReply,
  grown,
  idOf,
  openChat,
  questions,
  replies,
  replyBegun,
  send,
  statusOf,
  textOf,
} from '../helpers/chat';

const story = 'Write a very long story about a lighthouse keeper.';
const code = 'Write a Python function that adds two numbers.';

interface Stop {
  /** Tokens that the page had counted when Esc was pressed. */
  shown: number;
  /** From Esc to the end of the reply in the page. */
  ms: number;
}

/** In this order on one data folder, as a person would go on from one thing to the next. */
describe('a chat', () => {
  const home = temporaryHome();
  let running: RunningApp;
  let page: Page;
  /** The messages of the chat with code as they stood when its reply had just been streamed. */
  let streamed: string[];

  const start = async (): Promise<void> => {
    running = await launchApp({ home });
    page = running.page;
  };
  const newChat = async (): Promise<void> => {
    await page.keyboard.press('Control+n');
    await page.getByRole('heading', { level: 1, name: 'New chat' }).waitFor();
  };

  beforeAll(async () => {
    running = await launchApp({ home, settings: greedy });
    page = running.page;
  });
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('sends with Enter, starts a line with Shift+Enter, and shows the reply as it is written', async () => {
    await composer(page).click();
    await page.keyboard.type('Answer briefly.');
    await page.keyboard.press('Shift+Enter');
    await page.keyboard.type('What is the capital of France?');
    expect(await composer(page).inputValue()).toBe('Answer briefly.\nWhat is the capital of France?');
    expect(await questions(page).count()).toBe(0);

    await page.keyboard.press('Enter');
    const reply = await followReply(page);
    expect(reply.status).toBe('complete');
    expect(reply.text).toContain('Paris');
    expect(reply.stats).toMatch(/[\d.]+ tok\/s/);
    expect(reply.stats).toMatch(/[\d.]+ (ms|s) to first token/);
    expect(await questions(page).count()).toBe(1);
    expect(await composer(page).inputValue()).toBe('');
    expect(await composer(page).evaluate((field) => field === document.activeElement)).toBe(true);
  });

  it('stops at Esc, keeps the text and continues in the same message', async () => {
    await newChat();
    // A reply that does not end by itself, so that there is something to stop on any machine.
    await page.keyboard.press('Control+.');
    const panel = page.getByRole('complementary', { name: 'Chat settings' });
    await panel.getByRole('textbox', { name: 'Repeat penalty' }).fill('1');
    await panel.getByRole('textbox', { name: 'Max tokens' }).fill('3000');
    await page.keyboard.press('Control+.');
    await send(page, story);
    const reply = await replyBegun(page);
    const [id, status] = [await idOf(reply), reply.locator(':scope[data-status=stopped]')];

    // What the page shows at the key press and how long the stop takes, measured in the page itself.
    await reply.evaluate((article) => {
      const stop = new Promise<Stop>((resolve) => {
        window.addEventListener('keydown', (event) => {
          if (event.key !== 'Escape') return;
          const at = performance.now();
          const shown = Number(/(\d+) tokens?/.exec(article.textContent ?? '')?.[1] ?? 0);
          new MutationObserver((_, observer) => {
            if (article.getAttribute('data-status') === 'streaming') return;
            observer.disconnect();
            resolve({ shown, ms: performance.now() - at });
          }).observe(article, { attributes: true });
        });
      });
      Object.assign(window, { stop });
    });
    await page.keyboard.press('Escape');
    const { shown, ms } = await page.evaluate(() => (window as unknown as { stop: Promise<Stop> }).stop);
    await status.waitFor();
    const kept = await textOf(reply);
    const { text, stats } = await followReply(page);
    console.log(`stopped ${Math.round(ms)} ms after Esc`);
    expect(ms).toBeLessThan(1500);
    expect(kept.length).toBeGreaterThan(0);
    expect(stats).toContain('stopped');
    // One token may be under way and some on their way to the page, of 3000.
    const tokens = Number(/([\d,]+) tokens?/.exec(stats)?.[1]?.replace(',', ''));
    expect(tokens).toBeLessThan(shown + 100);

    await button(reply, 'Continue').click();
    await grown(reply, kept);
    await page.keyboard.press('Escape');
    const continued = await followReply(page);
    expect(await idOf(replies(page).last())).toBe(id);
    expect(await replies(page).count()).toBe(1);
    expect(continued.status).toBe('stopped');
    expect(continued.text.startsWith(text)).toBe(true);
    expect(continued.text.length).toBeGreaterThan(text.length);
  });

  it('keeps the first answer beside a regenerated one', async () => {
    await newChat();
    await send(page, 'Name one colour.');
    await followReply(page);
    const first = await idOf(replies(page).last());

    await button(replies(page).last(), 'Regenerate').click();
    await expect.poll(() => idOf(replies(page).last())).not.toBe(first);
    await followReply(page);
    const second = await idOf(replies(page).last());
    expect(await replies(page).count()).toBe(1);
    await replies(page).last().getByText('2/2').waitFor();

    await button(replies(page).last(), 'Previous version').click();
    await expect.poll(() => idOf(replies(page).last())).toBe(first);
    await replies(page).last().getByText('1/2').waitFor();
    await button(replies(page).last(), 'Next version').click();
    await expect.poll(() => idOf(replies(page).last())).toBe(second);
  });

  it('copies a reply and a code block', async () => {
    await newChat();
    await send(page, code);
    const reply = await followReply(page);
    streamed = await articles(page);
    const clipboard = (): Promise<string> => running.app.evaluate(({ clipboard }) => clipboard.readText());

    const last = replies(page).last();
    await button(last, 'Copy reply').click();
    await expect.poll(clipboard).toContain('```python');
    await button(last, 'Copy code').first().click();
    await expect.poll(clipboard).toMatch(/^def /);
    expect(reply.text).toContain((await clipboard()).split('\n')[0]);
  });

  it('renames a chat, deletes it and brings it back', async () => {
    await newChat();
    await send(page, 'Say hello.');
    await followReply(page);
    const row = chatRow(page, 'Say hello.');
    await row.focus();
    await page.keyboard.press('F2');
    await page.getByRole('textbox', { name: 'Chat title' }).fill('Greetings');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { level: 1, name: 'Greetings' }).waitFor();

    await chatRow(page, 'Greetings').hover();
    await button(page, 'Actions for Greetings').click();
    await page.getByRole('menuitem', { name: /Delete/ }).click();
    await chatRow(page, 'Greetings').waitFor({ state: 'detached' });
    expect(await questions(page).count()).toBe(0);
    await button(page, 'Undo').click();
    await chatRow(page, 'Greetings').waitFor();
    await questions(page).getByText('Say hello.').waitFor();
  });

  it('finds chats by what was said in them', async () => {
    const field = page.getByRole('searchbox', { name: 'Search chats' });
    await page.keyboard.press('Control+k');
    await page.keyboard.type('capital of fr');
    await page.getByRole('region', { name: '1 chat found' }).waitFor();
    await page.keyboard.press('Enter');
    await questions(page).getByText('What is the capital of France?').waitFor();
    await field.fill('zebra crossing');
    await page.getByText('No chat contains this.').waitFor();
    await button(page, 'Clear search').click();
    await chatRow(page, 'Greetings').waitFor();
  });

  it('keeps system prompt and sampling with their chat', async () => {
    await openChat(page, 'Greetings');
    await page.keyboard.press('Control+.');
    const panel = page.getByRole('complementary', { name: 'Chat settings' });
    await panel.getByRole('textbox', { name: 'System prompt' }).fill('You are a pirate.');
    await panel.getByRole('textbox', { name: 'Temperature', exact: true }).fill('0.35');
    await openChat(page, 'Name one colour.');
    await expect.poll(() => panel.getByRole('textbox', { name: 'System prompt' }).inputValue()).toBe('');
    expect(await panel.getByRole('textbox', { name: 'Temperature', exact: true }).inputValue()).toBe('0');
    await openChat(page, 'Greetings');
    await expect.poll(() => systemPrompt(panel)).toBe('You are a pirate.');
  });

  it('switches the theme', async () => {
    await page.keyboard.press('Control+,');
    const dialog = page.getByRole('dialog', { name: 'Settings' });
    const background = (): Promise<string> =>
      page.evaluate(() => getComputedStyle(document.body).getPropertyValue('background-color'));
    await dialog.getByRole('radio', { name: 'Light' }).click();
    await expect.poll(background).toBe('rgb(253, 253, 252)');
    await dialog.getByRole('radio', { name: 'Dark' }).click();
    await expect.poll(background).toBe('rgb(23, 24, 26)');
    expect(await running.app.evaluate(({ nativeTheme }) => nativeTheme.themeSource)).toBe('dark');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
  });

  it('is the same after a restart, to the letter of its HTML', async () => {
    const titles = [code, story, 'Name one colour.', 'Greetings'];
    const before: string[][] = [];
    for (const title of titles) before.push(await articlesOf(page, title));
    expect(streamed.join()).toContain('<pre');
    expect(before[0]).toEqual(streamed);

    await running.close();
    await start();
    for (const [i, title] of titles.entries()) expect(await articlesOf(page, title)).toEqual(before[i]);
    const panel = page.getByRole('complementary', { name: 'Chat settings' });
    expect(await systemPrompt(panel)).toBe('You are a pirate.');
    expect(await panel.getByRole('textbox', { name: 'Temperature', exact: true }).inputValue()).toBe('0.35');
    expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBe('dark');
  });

  it('remembers a conversation when it goes on after a restart', async () => {
    await openChat(page, story);
    const before = await replies(page).count();
    await send(page, 'What is the keeper called?');
    await followReply(page);
    expect(await replies(page).count()).toBe(before + 1);
    expect(await statusOf(replies(page).last())).toBe('complete');
    expect(await conversation(page).textContent()).toContain('What is the keeper called?');
  });
});

const systemPrompt = (panel: Locator): Promise<string> =>
  panel.getByRole('textbox', { name: 'System prompt' }).inputValue();

/** The open chat's messages as the page draws them, less what hovering and counting change. */
async function articles(page: Page): Promise<string[]> {
  // The label of a copy button says "Copied" for a while.
  await page.getByRole('button', { name: 'Copied' }).waitFor({ state: 'detached' });
  return conversation(page).evaluate((log) =>
    [...log.querySelectorAll('article')].map(({ outerHTML }) =>
      outerHTML.replace(/ data-state="[^"]*"/g, '').replace(/"_r_\w+_"/g, '"an id of React’s"'),
    ),
  );
}

async function articlesOf(page: Page, title: string): Promise<string[]> {
  await chatRow(page, title).click();
  await page.getByRole('heading', { level: 1, name: title }).waitFor();
  await questions(page).first().waitFor();
  return articles(page);
}
