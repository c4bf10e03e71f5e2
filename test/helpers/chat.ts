import type { Locator, Page } from 'playwright-core';

/** A person's view of the chat window: everything is found by its accessible role and name. */
export const composer = (page: Page): Locator => page.getByRole('textbox', { name: 'Message' });
export const sendButton = (page: Page): Locator => page.getByRole('button', { name: 'Send', exact: true });
export const replies = (page: Page): Locator => page.getByRole('article', { name: 'Reply' });
export const questions = (page: Page): Locator => page.getByRole('article', { name: 'You' });
export const conversation = (page: Page): Locator => page.getByRole('log', { name: 'Conversation' });
export const notices = (page: Page): Locator => page.getByRole('alert');
export const button = (within: Page | Locator, name: string): Locator =>
  within.getByRole('button', { name, exact: true });
export const chatRow = (page: Page, title: string): Locator =>
  page.getByRole('navigation', { name: 'Chats' }).getByRole('button', { name: title, exact: true });
/** The button above the conversation that names the model and its state. */
export const modelButton = (page: Page): Locator => page.getByRole('button', { name: /^Model: / });

/** Waits until the model is loaded. */
export async function modelReady(page: Page): Promise<void> {
  await page.getByRole('button', { name: /^Model: .*, ready$/ }).waitFor({ timeout: 60_000 });
}

/** Opens a chat of the sidebar and waits for its messages. */
export async function openChat(page: Page, title: string): Promise<void> {
  await chatRow(page, title).click();
  await questions(page).first().waitFor();
}

/** Waits until the last reply has text to show but is still being written. */
export async function replyBegun(page: Page): Promise<Locator> {
  const reply = replies(page).last();
  await reply.locator(':scope[data-status=streaming] > [class*="markdown"]').waitFor();
  return reply;
}

/** Waits until a reply shows more than `before`. */
export async function grown(reply: Locator, before: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while ((await textOf(reply)).length <= before.length) {
    if (Date.now() > deadline) throw new Error(`The reply does not grow: "${before}"`);
    await reply.page().waitForTimeout(50);
  }
}

export const statusOf = (reply: Locator): Promise<string | null> => reply.getAttribute('data-status');
export const idOf = (message: Locator): Promise<string | null> => message.getAttribute('data-message-id');
/** The text as shown; empty as long as there is none. */
export const textOf = (reply: Locator): Promise<string> =>
  reply.evaluate((article) => article.querySelector(':scope > [class*="markdown"]')?.textContent ?? '');

/** Types a message into the composer and sends it. Waits until the window lets it be sent (the model may be loading). */
export async function send(page: Page, text: string): Promise<void> {
  await composer(page).fill(text, { timeout: 60_000 });
  await sendButton(page).click({ timeout: 60_000 });
}

export interface FinishedReply {
  text: string;
  /** What stands under it: speed, time to first token, number of tokens. */
  stats: string;
  /** 'complete', 'stopped', 'interrupted' or 'failed'. */
  status: string;
}

/** Follows the last reply until it is no longer being written. `onText` gets what was appended since the last call. */
export async function followReply(
  page: Page,
  onText: (appended: string) => void = () => {},
  timeoutMs = 120_000,
): Promise<FinishedReply> {
  const reply = replies(page).last();
  await reply.waitFor({ timeout: timeoutMs });
  const deadline = Date.now() + timeoutMs;
  let shown = '';
  for (;;) {
    const now = await reply.evaluate(readReply);
    // Markdown may turn what was shown into something else, a list or a table.
    onText(now.text.startsWith(shown) ? now.text.slice(shown.length) : `\n${now.text}`);
    shown = now.text;
    if (!now.busy) return now;
    if (Date.now() > deadline) throw new Error(`The reply was not finished after ${timeoutMs / 1000} s: "${shown}"`);
    await page.waitForTimeout(100);
  }
}

/** Runs in the page. The text of a reply is its rendered Markdown; the footer comes when it is finished. */
function readReply(article: Element): FinishedReply & { busy: boolean } {
  const textOf = (selector: string) => article.querySelector<HTMLElement>(selector)?.innerText.trim() ?? '';
  return {
    text: textOf(':scope > [class*="markdown"]'),
    stats: textOf(':scope > footer p'),
    status: article.getAttribute('data-status') ?? '',
    busy: article.getAttribute('aria-busy') === 'true',
  };
}
