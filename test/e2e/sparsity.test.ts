import { rmSync } from 'node:fs';
import path from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { allChats, type WithApi } from '../helpers/api';
import { endless, greedy, launchApp, stockModelId, temporaryHome, type RunningApp } from '../helpers/app';
import { addAxe, findings } from '../helpers/axe';
import { button, followReply, grown, modelReady, openChat, replies, replyBegun, send, textOf } from '../helpers/chat';
import { giveBrokenPack, giveFrontier, linkStarter } from '../helpers/sparseModel';

const story = 'Write a very long story about a lighthouse keeper.';

const slider = (page: Page): Locator => page.getByRole('slider', { name: 'Sparsity', exact: true });
const readout = (page: Page): Locator => page.getByRole('button', { name: /^Sparsity: / });
const section = (page: Page): Locator => page.getByRole('region', { name: 'Sparsity' });
const says = async (page: Page): Promise<string> => (await slider(page).getAttribute('aria-valuetext')) ?? '';
const stats = (page: Page): Promise<string> => replies(page).last().locator('footer p').innerText();

/** In this order on one data folder. */
describe('the slider of a measured model', () => {
  const home = temporaryHome();
  const models = path.join(home, 'models');
  let running: RunningApp;
  let page: Page;
  const start = async (): Promise<void> => {
    running = await launchApp({ home, models });
    page = running.page;
    await modelReady(page);
  };

  beforeAll(async () => {
    await giveFrontier(linkStarter(models));
    running = await launchApp({
      home,
      models,
      settings: { ...endless, defaultModelId: 'sparse', panelOpen: true, theme: 'light' },
    });
    page = running.page;
    await modelReady(page);
  });
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('stands at exact, with what was measured there', async () => {
    await expect.poll(() => says(page)).toBe('exact: 1.4 times dense speed, no more perplexity');
    expect(await readout(page).innerText()).toMatch(/exact\s*1\.37×/);
    const figures = (await section(page).locator('dl').innerText()).replace(/\s+/g, ' ');
    expect(figures).toContain('Speed 428 tok/s');
    expect(figures).toContain('Density 10.0 %');
    expect(await section(page).getByText('Measured on Nov 24, 2026').count()).toBe(1);
    const why = await page.locator(`[id="${await slider(page).getAttribute('aria-describedby')}"]`).textContent();
    expect(why).toContain('no fastest stop');
    expect(await section(page).getByRole('table', { name: 'Measured stops of this model' }).count()).toBe(1);
  });

  it('is found from the composer and moved by the keyboard alone', async () => {
    await readout(page).focus();
    await page.keyboard.press('Enter');
    await expect.poll(() => slider(page).evaluate((thumb) => thumb === document.activeElement)).toBe(true);
    await page.keyboard.press('PageUp');
    expect(await says(page)).toMatch(/^careful: /);
    await page.keyboard.press('PageUp');
    expect(await says(page)).toBe('balanced: 1.5 times dense speed, 0.9 % more perplexity');
    await page.keyboard.press('ArrowRight');
    expect(await says(page)).toMatch(/^62 %: about /);
    await section(page).getByText('Estimated (≈) between balanced and fast.').waitFor();
    await page.keyboard.press('End');
    expect(await says(page)).toMatch(/^fastest, which this model runs as fast: /);
    await page.keyboard.press('Home');
    expect(await says(page)).toMatch(/^dense: 1\.0 times/);
  });

  it('snaps to a stop under the mouse', async () => {
    const track = (await section(page).locator('[data-orientation=horizontal]').first().boundingBox())!;
    await page.mouse.move(track.x + 8, track.y + track.height / 2);
    await page.mouse.down();
    await page.mouse.move(track.x + track.width * 0.5, track.y + track.height / 2, { steps: 5 });
    expect(await says(page)).toMatch(/^50 %: /);
    await page.mouse.move(track.x + track.width * 0.59, track.y + track.height / 2, { steps: 5 });
    expect(await says(page)).toMatch(/^balanced: /);
    await page.mouse.up();
  });

  it('changes how a reply is made while it is written, and the reply tells', async () => {
    await send(page, story);
    const reply = await replyBegun(page);
    await grown(reply, `${await textOf(reply)}${' '.repeat(100)}`);
    await slider(page).focus();
    await page.keyboard.press('PageUp');
    await grown(reply, `${await textOf(reply)}${' '.repeat(200)}`);
    await page.keyboard.press('Escape');
    await replies(page).last().locator(':scope[data-status=stopped]').waitFor();
    expect(await stats(page)).toMatch(/tok\/s\s*balanced → fast\s/);
    const [chat] = await allChats(page);
    expect(chat!.sparsity.position).toBe(0.8);
    expect(chat!.messages.at(-1)!.provenance!.sparsity).toBe('balanced → fast');
  });

  it('follows a wild hand without holding up the reply', async () => {
    await button(replies(page).last(), 'Regenerate').click();
    const reply = await replyBegun(page);
    const gaps = page.evaluate(async () => {
      const frames: number[] = [];
      const end = performance.now() + 1500;
      for (let last = performance.now(); last < end;) {
        const now = await new Promise<number>((resolve) => requestAnimationFrame(() => resolve(performance.now())));
        frames.push(now - last);
        last = now;
      }
      return frames.sort((a, b) => a - b);
    });
    await slider(page).focus();
    for (let i = 0; i < 60; i++) await page.keyboard.press(i % 20 < 10 ? 'ArrowLeft' : 'ArrowRight');
    await page.keyboard.press('Home');
    await grown(reply, `${await textOf(reply)}${' '.repeat(200)}`);
    // Half of the frames in time, also on two busy cores; a send that blocked the page would stop nearly all.
    expect((await gaps)[Math.floor((await gaps).length / 2)]).toBeLessThan(100);
    await page.keyboard.press('Escape');
    await replies(page).last().locator(':scope[data-status=stopped]').waitFor();
    const [chat] = await allChats(page);
    expect(chat!.sparsity.position).toBe(0);
    expect(chat!.messages.at(-1)!.provenance!.sparsity).toMatch(/ → dense$/);
  });

  it('stands where it stood after a restart; other chats have their own place', async () => {
    await slider(page).focus();
    await page.keyboard.press('PageUp');
    await page.keyboard.press('ArrowRight');
    await expect.poll(async () => (await allChats(page))[0]!.sparsity.position).toBe(0.22);
    await running.close();
    await start();
    await expect.poll(() => says(page)).toMatch(/^exact: /); // a new chat has the default
    await openChat(page, story);
    await expect.poll(() => says(page)).toMatch(/^22 %: about /);
    expect(await stats(page)).toMatch(/→ dense/);
  });

  it.each(['light', 'dark'] as const)('is accessible, %s', async (theme) => {
    await page.evaluate((theme) => (globalThis as unknown as WithApi).api.settings.set({ theme }), theme);
    await page.locator(`html[data-theme=${theme}]`).waitFor();
    await addAxe(page);
    expect(await findings(page)).toEqual([]);
  });
});

describe('a model that was not measured', () => {
  it('says so and runs dense, whatever the slider says', async () => {
    const running = await launchApp({ settings: { ...greedy, defaultModelId: stockModelId, panelOpen: true } });
    const { page } = running;
    try {
      await modelReady(page);
      await expect.poll(() => says(page)).toBe('exact, which this model runs as dense: everything is computed');
      await section(page)
        .getByText(/is not measured on this computer yet/)
        .waitFor();
      expect(await button(section(page), 'Measure this model').isEnabled()).toBe(true);
      expect(await section(page).locator('dl').count()).toBe(0);
      await send(page, 'What is the capital of France?');
      const { status, stats } = await followReply(page);
      expect(status).toBe('complete');
      expect(stats).toMatch(/tok\/s\s*dense\s/);
    } finally {
      await running.close();
    }
  });

  it('chats in spite of a broken pack, and says why that is not used', async () => {
    const home = temporaryHome();
    const models = path.join(home, 'models');
    giveBrokenPack(linkStarter(models));
    const running = await launchApp({
      home,
      models,
      settings: { ...greedy, defaultModelId: 'sparse', panelOpen: true },
    });
    const { page } = running;
    try {
      await modelReady(page);
      await section(page)
        .getByText(/The sparsity pack "sparse.hunchpack" is not used/)
        .waitFor();
      await send(page, 'What is the capital of France?');
      const { status, stats } = await followReply(page);
      expect(status).toBe('complete');
      expect(stats).toMatch(/tok\/s\s*exact\s/);
    } finally {
      await running.close();
      rmSync(home, { recursive: true, force: true });
    }
  });
});
