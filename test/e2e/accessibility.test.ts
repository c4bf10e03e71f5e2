import { rmSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endless, greedy, launchApp, temporaryHome, type RunningApp } from '../helpers/app';
import { addAxe, findings } from '../helpers/axe';
import { button, modelButton, modelReady, openChat, questions, replies, replyBegun } from '../helpers/chat';
import { storeChat } from '../helpers/seed';

const answer = `A paragraph with a [link](https://example.com), \`code\` and **bold**.

- one
- two

\`\`\`js
// a comment
const answer = "text" + 42;
\`\`\`

| a | b |
| - | - |
| 1 | 2 |

> quoted, with $x^2$
`;

describe.each(['light', 'dark'] as const)('accessibility, %s', (theme) => {
  const home = temporaryHome();
  let running: RunningApp;
  let page: Page;

  beforeAll(async () => {
    storeChat(home, 'Everything', ['Show me all you can draw.', answer]);
    running = await launchApp({ home, settings: { ...greedy, theme, panelOpen: true } });
    page = running.page;
    await modelReady(page);
    await addAxe(page);
  });
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('the start, with the panel', async () => {
    expect(await findings(page)).toEqual([]);
  });

  it('a chat', async () => {
    await openChat(page, 'Everything');
    expect(await findings(page)).toEqual([]);
  });

  it('the list of models', async () => {
    await modelButton(page).click();
    await page.getByRole('dialog', { name: 'Models' }).waitFor();
    expect(await findings(page)).toEqual([]);
    await page.keyboard.press('Escape');
  });

  it('the settings, all tabs', async () => {
    await page.keyboard.press('Control+,');
    for (const tab of ['General', 'Performance', 'Models', 'New chats', 'Data & about']) {
      await page.getByRole('tab', { name: tab }).click();
      expect(await findings(page), tab).toEqual([]);
    }
    await page.keyboard.press('Escape');
  });
});

describe('the keyboard alone', () => {
  let running: RunningApp;
  beforeAll(async () => {
    running = await launchApp({ settings: endless });
  });
  afterAll(() => running?.close());

  /** Role and name of what has the focus, as far as the page says it. */
  const focused = (page: Page): Promise<string> =>
    page.evaluate(() => {
      const element = document.activeElement as HTMLElement | null;
      const label =
        element?.getAttribute('aria-label') ?? (element as HTMLInputElement | null)?.labels?.[0]?.textContent;
      return label ?? element?.textContent ?? '';
    });
  const tabTo = async (page: Page, name: string): Promise<void> => {
    for (let i = 0; i < 40; i++) {
      if ((await focused(page)) === name) return;
      await page.keyboard.press('Tab');
    }
    throw new Error(`Tab never came to "${name}".`);
  };

  it('is enough for: new chat, message, stop, panel, temperature, settings, close', async () => {
    const { page } = running;
    await modelReady(page);
    await page.keyboard.press('Control+n');
    await expect.poll(() => focused(page)).toBe('Message');
    await page.keyboard.type('Write a very long story about a lighthouse keeper.');
    await page.keyboard.press('Enter');
    await replyBegun(page);
    await page.keyboard.press('Escape');
    await replies(page).last().locator(':scope[data-status=stopped]').waitFor();
    expect(await focused(page)).toBe('Message');

    await page.keyboard.press('Control+.');
    await page.getByRole('complementary', { name: 'Chat settings' }).waitFor();
    await tabTo(page, 'Temperature');
    await page.keyboard.press('ArrowUp');
    const temperature = page.getByRole('textbox', { name: 'Temperature', exact: true });
    await expect.poll(() => temperature.inputValue()).toBe('0.05');

    await page.keyboard.press('Control+,');
    const dialog = page.getByRole('dialog', { name: 'Settings' });
    await dialog.waitFor();
    await expect.poll(() => focused(page)).toBe('General');
    await page.keyboard.press('ArrowDown');
    await expect.poll(() => focused(page)).toBe('Performance');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'detached' });
    await expect.poll(() => focused(page)).toBe('Temperature');

    await page.keyboard.press('Control+.');
    await page.keyboard.press('Control+n');
    await expect.poll(() => focused(page)).toBe('Message');
    expect(await questions(page).count()).toBe(0);
  });

  it('reaches every button of the window by Tab', async () => {
    const { page } = running;
    const expected = ['New chat', 'Search chats', 'Settings', 'Show chat settings', 'Message'];
    await page.keyboard.type('x'); // so that Send can be reached
    const seen = new Set<string>();
    for (let i = 0; i < 40; i++) {
      seen.add(await focused(page));
      await page.keyboard.press('Tab');
    }
    for (const name of [...expected, 'Send']) expect([...seen].join('|')).toContain(name);
    await button(page, 'Send').waitFor();
  });
});
