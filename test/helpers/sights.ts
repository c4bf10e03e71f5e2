import type { Page } from 'playwright-core';

/** What the page showed of the last reply, and when. */
export interface Sight {
  at: number; // Date.now()
  text: string;
}

type Watching = { hunchSights: Sight[] };

/** From now on the page notes every change of the last reply's text. */
export async function watchReply(page: Page): Promise<void> {
  await page.evaluate(() => {
    const seen: Sight[] = ((globalThis as unknown as Watching).hunchSights = []);
    const look = (): void => {
      const texts = document.querySelectorAll('article[aria-label=Reply] > [class*="markdown"]');
      const text = texts[texts.length - 1]?.textContent ?? '';
      if (text !== seen[seen.length - 1]?.text) seen.push({ at: Date.now(), text });
    };
    look();
    const log = document.querySelector('[role=log]');
    if (!log) throw new Error('There is no conversation to watch.');
    new MutationObserver(look).observe(log, { childList: true, subtree: true, characterData: true });
  });
}

export const sights = (page: Page): Promise<Sight[]> =>
  page.evaluate(() => (globalThis as unknown as Watching).hunchSights);

/** What text in Markdown and its rendering have in common: the letters, in order. */
export const letters = (text: string): string => text.replace(/[^\p{L}]+/gu, '');
