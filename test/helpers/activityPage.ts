import type { Locator, Page } from 'playwright-core';
import type { RunningApp } from './app';

/** The activation panel as a person finds it. */
export const panel = (page: Page): Locator => page.getByRole('region', { name: 'Activations', exact: true });
export const tokenSlider = (page: Page): Locator => panel(page).getByRole('slider', { name: 'Token', exact: true });
export const map = (page: Page, name: RegExp): Locator => panel(page).getByRole('grid', { name });

export async function openPanel(page: Page): Promise<void> {
  await page.getByRole('textbox', { name: 'Message', exact: true }).waitFor();
  await page.keyboard.press('Control+j');
  await panel(page).waitFor();
}

export const showView = (page: Page, name: string): Promise<void> =>
  panel(page).getByRole('tab', { name, exact: true }).click();

/** 'Summary' or 'Every neuron'. */
export const capture = (page: Page, mode: string): Promise<void> =>
  panel(page).getByRole('radio', { name: mode, exact: true }).click();

/** Goes to a token, counted from 1, by the keyboard. */
export async function goToToken(page: Page, number: number): Promise<void> {
  const slider = tokenSlider(page);
  await slider.focus();
  let at = Number(await slider.getAttribute('aria-valuenow'));
  if (Math.abs(number - at) > number) {
    await page.keyboard.press('Home');
    at = 1;
  }
  const key = number > at ? 'ArrowRight' : 'ArrowLeft';
  for (let i = Math.abs(number - at); i > 0; i--) await page.keyboard.press(key);
  await panel(page).locator(`[role=slider][aria-label=Token][aria-valuenow="${number}"]`).waitFor();
}

/** Waits until no run is going on. */
export async function runsDone(page: Page): Promise<void> {
  await panel(page).getByText('running…').waitFor({ state: 'detached', timeout: 120_000 });
}

export function resize({ app }: RunningApp, width: number, height: number): Promise<void> {
  const size = { width, height };
  return app.evaluate(({ BrowserWindow }, { width, height }) => {
    BrowserWindow.getAllWindows()[0]!.setContentSize(width, height);
  }, size);
}
