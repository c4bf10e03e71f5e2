import type { Locator, Page } from 'playwright-core';

/** A person's view of the chat window: everything is found by its accessible role and name. */
export const composer = (page: Page): Locator => page.getByRole('textbox', { name: 'Message' });
export const sendButton = (page: Page): Locator => page.getByRole('button', { name: 'Send', exact: true });
export const replies = (page: Page): Locator => page.getByRole('article', { name: 'Reply' });

/** Types a message into the composer and sends it. Waits until the window lets it be sent (the model may be loading). */
export async function send(page: Page, text: string): Promise<void> {
  await composer(page).fill(text, { timeout: 60_000 });
  await sendButton(page).click({ timeout: 60_000 });
}

/** Follows the last reply until its statistics appear. `onText` gets what was appended since the last call. */
export async function followReply(
  page: Page,
  onText: (appended: string) => void = () => {},
  timeoutMs = 120_000,
): Promise<{ text: string; stats: string }> {
  const reply = replies(page).last();
  const body = reply.getByTestId('reply-text');
  const stats = reply.getByText(/tok\/s/);
  const deadline = Date.now() + timeoutMs;
  let shown = '';
  await reply.waitFor({ timeout: timeoutMs });
  for (;;) {
    const done = await stats.isVisible();
    const text = (await body.innerText()).trimEnd();
    if (text.startsWith(shown)) onText(text.slice(shown.length));
    else onText(`\n${text}`); // Markdown made something else of what was shown, a list or a table
    shown = text;
    if (done) return { text, stats: await stats.innerText() };
    if (Date.now() > deadline) throw new Error(`The reply was not finished after ${timeoutMs / 1000} s: "${text}"`);
    await page.waitForTimeout(100);
  }
}
