import { execFile } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { verbNames } from '../../electron/contract/channelNames';
import type { Envelope } from '../../electron/contract/errors';
import { findElectron } from '../../scripts/lib/electron-runtime.mjs';
import type { WithApi } from '../helpers/api';
import { greedy, launchApp, root, temporaryHome, type RunningApp } from '../helpers/app';
import { composer, conversation, followReply, openChat, questions, replies, send } from '../helpers/chat';
import { answerDialogs, dialogs } from '../helpers/dialogs';
import { storeChat } from '../helpers/seed';

const hostile = `<img src="x" onerror="document.title='pwned'"> <script>document.title='pwned'</script>

<iframe src="https://example.com"></iframe>
<a href="javascript:document.title='pwned'">raw link</a> [script](javascript:document.title='pwned')

[a page](https://example.com/page) and [plain](http://example.com/) and ![picture](https://example.com/pixel.png)`;

describe('what must not get through', () => {
  const home = temporaryHome();
  let running: RunningApp;
  let page: Page;

  beforeAll(async () => {
    storeChat(home, 'Hostile', ['Show me.', hostile]);
    running = await launchApp({ home, settings: greedy, hooks: ['dialogs.cjs'] });
    page = running.page;
  });
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  const windows = (): Promise<string[]> =>
    running.app.evaluate(({ webContents }) => webContents.getAllWebContents().map((contents) => contents.getURL()));

  it('a second start on the same data: it ends, the first window stays', async () => {
    await composer(page).fill('half a thought');
    const { executable } = findElectron()!;
    const args = ['--no-sandbox', '--disable-gpu', root];
    const code = await new Promise<number | null>((resolve) => {
      const env = { ...process.env, HUNCH_HOME: home };
      const second = execFile(executable, args, { cwd: root, env, timeout: 60_000, killSignal: 'SIGKILL' });
      second.once('exit', resolve);
    });
    expect(code).toBe(0);
    expect(readFileSync(path.join(home, 'hunch.log'), 'utf8')).toContain('Hunch is already open on this data folder');
    expect(await windows()).toEqual(['app://hunch/index.html']);
    expect(await composer(page).inputValue()).toBe('half a thought');
    await composer(page).fill('');
  });

  it('messages that do not fit the contract: each is refused with a sentence, nothing breaks', async () => {
    const answers = await page.evaluate(async () => {
      const { api } = globalThis as unknown as WithApi;
      const verbs = api as unknown as Record<
        string,
        Record<string, (...args: unknown[]) => Promise<Envelope<unknown>>>
      >;
      const id = crypto.randomUUID();
      const calls: [string, string, unknown][] = [
        ['app', 'info', { extra: 1 }],
        ['app', 'openLink', { url: 'file:///etc/passwd' }],
        ['app', 'openLink', { url: 'https://bank.example@evil.example/' }],
        ['settings', 'set', { theme: 'blue' }],
        ['settings', 'set', { threads: -1 }],
        ['settings', 'set', { constructor: { prototype: { polluted: true } } }],
        ['models', 'select', { modelId: '../../etc/passwd' }],
        ['models', 'select', { modelId: '/dev/zero' }],
        ['chats', 'get', undefined],
        ['chats', 'get', { chatId: "'; DROP TABLE chats; --" }],
        ['chats', 'get', { chatId: id }],
        ['chats', 'rename', { chatId: id, title: '' }],
        ['chats', 'search', { query: 'a'.repeat(2000) }],
        ['chats', 'export', { chatId: id, format: 'exe' }],
        ['reply', 'start', { chatId: id, messageId: id, parentId: null, text: '' }],
        ['reply', 'start', { chatId: id, messageId: id, parentId: null, text: 'to nowhere' }],
        ['reply', 'start', ['not', 'an', 'object']],
        ['reply', 'regenerate', { chatId: id, messageId: id, extra: true }],
        ['reply', 'stop', null],
      ];
      const answers: { call: string; answer: Envelope<unknown> }[] = [];
      for (const [domain, action, input] of calls) {
        answers.push({
          call: `${domain}.${action} ${JSON.stringify(input)}`,
          answer: await verbs[domain]![action]!(input),
        });
      }
      return answers;
    });
    for (const { call, answer } of answers) {
      expect(answer, call).toMatchObject({
        ok: false,
        error: { code: expect.stringMatching(/bad-request|not-found/) },
      });
      expect(answer.ok ? '' : answer.error.message, call).toMatch(/^\S.{15,}\.$/s);
    }
    expect(await page.evaluate(() => (({}) as { polluted?: boolean }).polluted)).toBeUndefined();
    // What cannot even be cloned never leaves the page.
    const thrown = await page.evaluate(() =>
      (globalThis as unknown as WithApi).api.chats.get({ chatId: (() => {}) as never }).then(
        () => 'answered',
        (error: Error) => error.name,
      ),
    );
    expect(thrown).not.toBe('answered');
    await openChat(page, 'Hostile');
  });

  it('verbs beyond the contract: the page has none, and cannot reach the channel itself', async () => {
    const found = await page.evaluate(() => {
      const { api } = globalThis as unknown as { api: Record<string, Record<string, unknown>> };
      const names = Object.entries(api).flatMap(([domain, value]) =>
        typeof value === 'function' ? [domain] : Object.keys(value).map((action) => `${domain}.${action}`),
      );
      const globals = globalThis as unknown as Record<string, unknown>;
      const reachable = ['require', 'process', 'module', 'ipcRenderer', 'electron', 'Buffer'].filter(
        (n) => n in globals,
      );
      const chats = api['chats'] as Record<string, unknown>;
      try {
        chats['list'] = () => 'replaced';
        Object.assign(api, { evil: true });
      } catch {
        // Frozen: fine.
      }
      return { names, reachable, opener: typeof window.opener, evil: 'evil' in api };
    });
    expect(found.names.sort()).toEqual([...verbNames, 'onEvent', 'onReply'].sort());
    expect(found).toMatchObject({ reachable: [], evil: false });
  });

  it('another window with our preload and our page: the main process does not serve it', async () => {
    const answer = await running.app.evaluate(async ({ BrowserWindow, app }) => {
      const preload = `${app.getAppPath()}/dist/electron/preload.cjs`;
      const other = new BrowserWindow({
        show: false,
        webPreferences: { preload, sandbox: true, contextIsolation: true },
      });
      try {
        await other.loadURL('app://hunch/index.html');
        return (await other.webContents.executeJavaScript('window.api.chats.list()')) as Envelope<unknown>;
      } finally {
        other.destroy();
      }
    });
    expect(answer).toEqual({ ok: false, error: { code: 'bad-request', message: 'This page may not use Hunch.' } });
  });

  it('HTML from a model: shown as text, nothing runs, nothing is fetched', async () => {
    await openChat(page, 'Hostile');
    const reply = replies(page).last();
    expect(await reply.textContent()).toContain(`<img src="x" onerror="document.title='pwned'">`);
    expect(await reply.locator('img, script, iframe, [onerror]').count()).toBe(0);
    expect(await reply.locator('a').evaluateAll((links) => links.map((a) => a.getAttribute('href')))).toEqual([
      'https://example.com/page',
      'http://example.com/',
      'https://example.com/pixel.png',
    ]);
    expect(await page.title()).toBe('Hostile – Hunch');
  });

  it('HTML from the composer: the same', async () => {
    const text = `Repeat: <img src=x onerror="document.title='pwned'">`;
    await page.keyboard.press('Control+n');
    await send(page, text);
    await followReply(page);
    expect(await questions(page).last().locator('div').first().textContent()).toContain(text);
    expect(await conversation(page).locator('img').count()).toBe(0);
    expect(await page.title()).not.toBe('pwned');
  });

  it('a link: the window stays; the browser opens only after a yes, only for https', async () => {
    await openChat(page, 'Hostile');
    await answerDialogs(running, { answer: 1 });
    const link = page.getByRole('link', { name: 'a page' });
    await link.click();
    await expect.poll(async () => (await dialogs(running)).messages.length).toBe(1);
    expect((await dialogs(running)).messages[0]).toMatchObject({ detail: 'https://example.com/page' });
    expect((await dialogs(running)).opened).toEqual([]);
    await answerDialogs(running, { answer: 0 });
    await link.click();
    await expect.poll(async () => (await dialogs(running)).opened).toEqual(['https://example.com/page']);

    await page.getByRole('link', { name: 'plain' }).click();
    await page.getByRole('alert').getByText('Hunch opens only https links').waitFor();
    await link.click({ button: 'middle' });
    expect(await windows()).toEqual(['app://hunch/index.html']);
  });

  it('scripts, styles and requests of another origin: the content policy refuses them', async () => {
    const { policy, violated, ran } = await page.evaluate(async () => {
      const seen: SecurityPolicyViolationEvent[] = [];
      document.addEventListener('securitypolicyviolation', (event) => seen.push(event));
      const refused = await fetch('https://example.com/').then(
        () => 'answered',
        () => 'refused',
      );
      const inline = document.createElement('script');
      inline.textContent = 'globalThis.inlineRan = true';
      const frame = document.createElement('iframe');
      frame.src = 'app://hunch/index.html';
      const image = document.createElement('img');
      image.src = 'https://example.com/pixel.png';
      document.body.append(inline, frame, image);
      // Each may be reported twice: the page carries the policy too.
      const directives = (): string[] => [...new Set(seen.map((event) => event.effectiveDirective))].sort();
      for (let i = 0; i < 100 && directives().length < 4; i++) await new Promise((resolve) => setTimeout(resolve, 20));
      for (const element of [inline, frame, image]) element.remove();
      return {
        policy: seen[0]?.originalPolicy ?? '',
        violated: directives(),
        ran: [refused, 'inlineRan' in globalThis],
      };
    });
    expect(policy).toContain("default-src 'none'; script-src 'self'");
    expect(policy).toContain("connect-src 'none'");
    expect(violated).toEqual(['connect-src', 'frame-src', 'img-src', 'script-src-elem']);
    expect(ran).toEqual(['refused', false]);
  });

  // The last one: Playwright waits for the end of a navigation that was refused, so its page is of no use afterwards.
  it('scripts that navigate or open windows: refused, the page lives on', async () => {
    const navigations = await running.app.evaluate(async ({ webContents }) => {
      const contents = webContents.getAllWebContents()[0]!;
      const tried: { url: string; prevented: boolean }[] = [];
      contents.on('will-navigate', (event, url) => tried.push({ url, prevented: event.defaultPrevented }));
      for (const target of ['https://example.com/', 'file:///etc/passwd', 'app://hunch/other.html']) {
        await contents.executeJavaScript(`void (location.href = ${JSON.stringify(target)})`);
      }
      const openedNone = (await contents.executeJavaScript(`window.open('https://example.com/') === null`)) as boolean;
      for (let i = 0; i < 100 && tried.length < 2; i++) await new Promise((resolve) => setTimeout(resolve, 50));
      const alive = (await contents.executeJavaScript('window.api.chats.list()')) as Envelope<unknown>;
      return { tried, openedNone, alive: alive.ok };
    });
    expect(navigations.tried.length).toBeGreaterThanOrEqual(2);
    expect(navigations.tried.filter(({ prevented }) => !prevented)).toEqual([]);
    expect(navigations).toMatchObject({ openedNone: true, alive: true });
    expect(await windows()).toEqual(['app://hunch/index.html']);
  });
});
