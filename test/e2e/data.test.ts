import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { closeDatabase, openDatabase } from '../../electron/chats/database';
import { allChats } from '../helpers/api';
import { endless, greedy, launchApp, temporaryHome, type LaunchOptions, type RunningApp } from '../helpers/app';
import {
  button,
  chatRow,
  composer,
  followReply,
  grown,
  modelReady,
  notices,
  openChat,
  questions,
  replies,
  replyBegun,
  send,
  textOf,
} from '../helpers/chat';
import { dialogs } from '../helpers/dialogs';
import { storeChat } from '../helpers/seed';

describe('data that is in the way', () => {
  let home: string;
  let running: RunningApp | undefined;
  const launch = async (options: LaunchOptions = {}): Promise<RunningApp> =>
    (running = await launchApp({ home, hooks: ['dialogs.cjs'], ...options }));

  beforeEach(() => {
    home = temporaryHome();
  });
  afterEach(async () => {
    await running?.close();
    running = undefined;
    rmSync(home, { recursive: true, force: true });
  });
  /** What the dialogs at the start said. */
  const told = async (): Promise<string[]> => (await dialogs(running!)).messages.map(({ detail }) => detail);
  const kept = (name: string): string[] => readdirSync(home).filter((file) => file.startsWith(`${name}.damaged-`));

  it('a message longer than the context: says so with numbers, keeps it, answers once there is room', async () => {
    const { page } = await launch({ settings: { ...greedy, contextLength: 256 } });
    const text = 'This sentence is here to be read again. '.repeat(40) + 'What is the capital of France?';
    await send(page, text);
    await replies(page)
      .getByText(/This chat has \d+ tokens, but the context holds 256 and \d+ of them/)
      .waitFor();
    expect(await questions(page).locator('[id]').textContent()).toBe(text);

    await button(replies(page), 'Settings').click();
    const field = page.getByRole('textbox', { name: 'Context length' });
    await field.fill('2048');
    await page.keyboard.press('Enter');
    await page.keyboard.press('Escape');
    await button(replies(page), 'Try again').click();
    await replies(page).last().locator(':scope[data-status=complete]').waitFor();
    expect((await followReply(page)).text.length).toBeGreaterThan(0);
  });

  it('a database of a newer Hunch: says which, and leaves the file alone', async () => {
    storeChat(home, 'From the future', ['Hello?', 'Hello.']);
    const file = path.join(home, 'hunch.db');
    const { db } = openDatabase(file);
    db.exec('PRAGMA user_version = 999');
    closeDatabase(db);
    const hash = (): string => createHash('sha256').update(readFileSync(file)).digest('hex');
    const before = hash();

    const { page, app } = await launch();
    await page.getByRole('heading', { name: 'These chats need a newer Hunch' }).waitFor();
    const text = await page.getByRole('alert').textContent();
    expect(text).toMatch(/hunch\.db were written by a newer version of Hunch \(format 999; this one knows \d+\)/);
    expect(text).toMatch(/Install the newer version to open them\. The file was not changed\./);
    expect(await app.windows()).toHaveLength(1);
    expect(hash()).toBe(before);
  });

  it('a damaged database: kept aside, the person is told, an empty one is begun', async () => {
    writeFileSync(path.join(home, 'hunch.db'), 'no database, '.repeat(1000));
    const { page } = await launch({ settings: greedy });
    await expect.poll(told).toHaveLength(1);
    expect((await told())[0]).toMatch(
      /The chat database was damaged and could not be read\. Hunch kept it as .*hunch\.db\.damaged-/,
    );
    expect(readFileSync(path.join(home, kept('hunch.db')[0]!), 'utf8')).toMatch(/^no database, no/);
    await send(page, 'Say hello.');
    expect((await followReply(page)).status).toBe('complete');
  });

  it('broken settings: kept aside, the person is told, the defaults and the chats are there', async () => {
    storeChat(home, 'Still here', ['Hello?', 'Hello.']);
    writeFileSync(path.join(home, 'settings.json'), '{ "theme": "dark", ');
    const { page } = await launch();
    await expect.poll(told).toHaveLength(1);
    expect((await told())[0]).toMatch(
      /settings file was not valid JSON\. Hunch kept it as .*settings\.json\.damaged-.* and uses the defaults/,
    );
    expect(readFileSync(path.join(home, kept('settings.json')[0]!), 'utf8')).toBe('{ "theme": "dark", ');
    await openChat(page, 'Still here');
    expect(await page.evaluate(() => document.documentElement.dataset['theme'])).toBeUndefined();
  });

  it('one setting that does not fit: only that one gets its default', async () => {
    writeFileSync(path.join(home, 'settings.json'), JSON.stringify({ theme: 'dark', contextLength: 'plenty' }));
    const { page } = await launch();
    await expect.poll(told).toHaveLength(1);
    expect((await told())[0]).toMatch(
      /The setting “contextLength” in .* has a value that does not fit .* its default is used/,
    );
    await expect.poll(() => page.evaluate(() => document.documentElement.dataset['theme'])).toBe('dark');
  });
});

/** Mounts a small disk of its own, which only root may; null with the reason where that does not work. */
function mountSmallDisk(folder: string): string | null {
  if (process.platform !== 'linux') return 'Only Linux has tmpfs.';
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m', 'tmpfs', folder], { stdio: 'pipe' });
    return null;
  } catch (error) {
    return `No disk can be mounted: ${String((error as { stderr?: unknown }).stderr ?? error).trim()}`;
  }
}

describe('a full disk', () => {
  let home: string;
  let chromium: string;
  let filler: string;
  let reason: string | null;
  let running: RunningApp | undefined;

  beforeEach(() => {
    home = mkdtempSync(path.join(tmpdir(), 'hunch-disk-'));
    filler = path.join(home, 'filler');
    reason = mountSmallDisk(home);
    // Chromium's own files come and go, which would make room again: they lie elsewhere.
    chromium = mkdtempSync(path.join(tmpdir(), 'hunch-chromium-'));
    symlinkSync(chromium, path.join(home, 'electron'));
  });
  afterEach(async () => {
    await running?.close();
    if (reason === null) execFileSync('umount', ['--lazy', home]);
    for (const folder of [home, chromium]) rmSync(folder, { recursive: true, force: true });
  });

  it('the message stays in the composer, the reply in memory; both are saved once there is room', async (context) => {
    if (reason !== null) return context.skip(reason);
    running = await launchApp({ home, settings: endless });
    const { page } = running;
    await modelReady(page);
    await send(page, 'Say hello.');
    await followReply(page);

    fillUp(filler);
    await composer(page).fill('What is the capital of France?');
    await page.keyboard.press('Enter');
    await notices(page)
      .getByText(/The disk that holds .*hunch\.db is full.*Free some space and try again/)
      .waitFor();
    expect(await composer(page).inputValue()).toBe('What is the capital of France?');
    expect(await questions(page).count()).toBe(1);

    rmSync(filler);
    await button(page, 'Send').click();
    await replies(page).nth(1).waitFor();
    expect((await followReply(page)).text).toContain('Paris');
    expect(await questions(page).count()).toBe(2);

    await page.keyboard.press('Control+n');
    await send(page, 'Write a very long story about a lighthouse keeper.');
    await replyBegun(page);
    fillUp(filler);
    await grown(replies(page).last(), await textOf(replies(page).last()));
    await page.keyboard.press('Escape');
    const { text, status } = await followReply(page);
    expect(status).toBe('failed');
    expect(await replies(page).last().textContent()).toMatch(
      /The reply has ended but could not be saved yet\. Free some disk space/,
    );
    expect(text.length).toBeGreaterThan(10);

    rmSync(filler);
    // Hunch tries again every few seconds; what the database holds is what a second connection reads.
    const stored = (): string => {
      const { db } = openDatabase(path.join(home, 'hunch.db'));
      const row = db.prepare('SELECT status FROM messages ORDER BY seq DESC').get();
      db.close();
      return (row as { status: string }).status;
    };
    await expect.poll(stored, { timeout: 20_000, interval: 500 }).toBe('stopped');
    await running.close();
    running = await launchApp({ home });
    const titles = (await allChats(running.page)).map(({ title, messages }) => [title, messages.length]);
    expect(titles).toEqual([
      ['Write a very long story about a lighthouse keeper.', 2],
      ['Say hello.', 4],
    ]);
    await chatRow(running.page, 'Write a very long story about a lighthouse keeper.').click();
    expect((await followReply(running.page)).text).toBe(text);
  });
});

function fillUp(file: string): void {
  // Until not a byte more goes in.
  for (const size of [1 << 20, 4096, 64]) {
    try {
      for (;;) writeFileSync(file, Buffer.alloc(size), { flag: 'a' });
    } catch (error) {
      expect((error as NodeJS.ErrnoException).code).toBe('ENOSPC');
    }
  }
}
