import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { rmSync } from 'node:fs';
import path from 'node:path';
import type { Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '../../electron/chats/database';
import { ChatStore } from '../../electron/chats/store';
import type { GpuReport } from '../../electron/contract/devices';
import { defaultSampling } from '../../electron/contract/entities';
import { defaultSparsity } from '../../electron/contract/sparsity';
import { openPanel, panel, showView } from '../helpers/activityPage';
import type { WithApi } from '../helpers/api';
import { endless, greedy, launchApp, root, stockModelId, temporaryHome, type RunningApp } from '../helpers/app';
import { addAxe, findings } from '../helpers/axe';
import {
  button,
  composer,
  followReply,
  grown,
  modelButton,
  modelReady,
  openChat,
  replies,
  replyBegun,
  send,
  textOf,
} from '../helpers/chat';
import { linkStarter } from '../helpers/sparseModel';

/** What the engine itself finds here, by another way than the window. */
const report = (
  JSON.parse(
    execFileSync(process.execPath, [path.join(root, 'dist/electron/cli.cjs'), 'devices', '--json'], {
      encoding: 'utf8',
    }),
  ) as { cuda: GpuReport }
).cuda;
const usable = report.gpus.find((gpu) => gpu.usable);
const noGpu = /driver|without CUDA|No GPU can be used/;

const performance = async (page: Page): Promise<Locator> => {
  await page.keyboard.press('Control+,');
  const dialog = page.getByRole('dialog', { name: 'Settings' });
  await dialog.getByRole('tab', { name: 'Performance' }).click();
  await dialog
    .getByRole('radiogroup', { name: 'Run on' })
    .or(dialog.getByRole('group', { name: 'Run on' }))
    .waitFor();
  return dialog;
};
const choose = (dialog: Locator, name: string): Promise<void> =>
  dialog.getByRole('radio', { name, exact: true }).click();
const settingsOf = (page: Page) =>
  page.evaluate(async () => {
    const answer = await (globalThis as unknown as WithApi).api.settings.get();
    if (!answer.ok) throw new Error(answer.error.message);
    return answer.value;
  });

describe('where the model runs', () => {
  let running: RunningApp;
  let page: Page;
  beforeAll(async () => {
    running = await launchApp({ settings: { ...endless, threads: 2 } });
    page = running.page;
    await modelReady(page);
  });
  afterAll(() => running?.close());

  it('stands beside the model, and the settings say what was found', async () => {
    const now = usable ? usable.name : 'CPU, 2 threads';
    expect(await modelButton(page).textContent()).toContain(now);
    const dialog = await performance(page);
    await dialog.getByText(`Now on: ${now}`).waitFor();
    for (const gpu of report.gpus) await dialog.getByText(gpu.name).first().waitFor();
    if (report.problem !== '') await dialog.getByText(report.problem, { exact: true }).waitFor();
    expect(await dialog.getByRole('radio', { name: 'Automatic' }).getAttribute('aria-checked')).toBe('true');
    await page.keyboard.press('Escape');
  });

  it('changes for the next reply: one that is being written ends first', async () => {
    await send(page, 'Write a very long story about a lighthouse keeper.');
    const reply = await replyBegun(page);
    const dialog = await performance(page);
    await choose(dialog, 'CPU');
    await dialog.getByRole('textbox', { name: 'Threads' }).fill('1');
    await page.keyboard.press('Enter');
    const before = await textOf(reply);
    await grown(reply, before);
    await page.keyboard.press('Escape');
    await composer(page).focus();
    await page.keyboard.press('Escape');
    await replies(page).last().locator(':scope[data-status=stopped]').waitFor();
    expect((await textOf(reply)).startsWith(before)).toBe(true);
    await page.getByRole('button', { name: /^Model: .* on\s+CPU, 1 thread\s*, ready$/ }).waitFor();
    expect(await settingsOf(page)).toMatchObject({ device: 'cpu', threads: 1 });
  });

  it('takes budgets, and their absence', async () => {
    const dialog = await performance(page);
    const gpu = dialog.getByRole('textbox', { name: 'GPU memory to use (MB)' });
    const memory = dialog.getByRole('textbox', { name: 'Main memory for the model (MB)' });
    expect(await gpu.getAttribute('placeholder')).toBe('what is free');
    await gpu.fill('2048');
    await memory.fill('1000000');
    await memory.press('Enter');
    await expect.poll(() => settingsOf(page)).toMatchObject({ gpuBudgetMb: 2048, memoryBudgetMb: 1_000_000 });
    await memory.fill('');
    await memory.press('Enter');
    await expect.poll(() => settingsOf(page)).toMatchObject({ gpuBudgetMb: 2048, memoryBudgetMb: null });
    await gpu.fill('no number');
    await gpu.press('Enter');
    expect(await gpu.inputValue()).toBe('2048');
    await gpu.fill('');
    await gpu.press('Enter');
    await expect.poll(() => settingsOf(page)).toMatchObject({ gpuBudgetMb: null });
    await page.keyboard.press('Escape');
    await modelReady(page);
  });
});

describe.skipIf(usable)('an NVIDIA GPU that cannot be used', () => {
  let running: RunningApp;
  let page: Page;
  beforeAll(async () => {
    running = await launchApp({ settings: { ...greedy, threads: 2 } });
    page = running.page;
    await modelReady(page);
  });
  afterAll(() => running?.close());

  it('is told in the settings when it is chosen, and the CPU is one button away', async () => {
    const dialog = await performance(page);
    await choose(dialog, 'NVIDIA GPU');
    const status = dialog.getByRole('status').filter({ hasText: noGpu });
    await status.waitFor();
    await addAxe(page);
    expect(await findings(page)).toEqual([]);
    await button(dialog, 'Run on the CPU').click();
    await dialog.getByText('Now on: CPU, 2 threads').waitFor();
    expect(await dialog.getByRole('radio', { name: 'CPU', exact: true }).getAttribute('aria-checked')).toBe('true');
    await page.keyboard.press('Escape');
    await modelReady(page);
  });

  it('is told in the empty chat', async () => {
    const dialog = await performance(page);
    await choose(dialog, 'NVIDIA GPU');
    await dialog.getByRole('status').filter({ hasText: noGpu }).waitFor();
    await page.keyboard.press('Escape');
    const start = page.getByRole('region', { name: 'Start' });
    await start.getByText(noGpu).waitFor();
    await button(start, 'Run on the CPU').click();
    await modelReady(page);
  });

  it('is told with a message that waits for its reply, which the CPU then writes', async () => {
    const dialog = await performance(page);
    await choose(dialog, 'NVIDIA GPU');
    await dialog.getByRole('status').filter({ hasText: noGpu }).waitFor();
    await page.keyboard.press('Escape');
    await send(page, 'What is the capital of France?');
    const reply = replies(page).last();
    await reply.locator(':scope[data-status=failed]').getByText(noGpu).waitFor();
    await button(reply, 'Go on on the CPU').click();
    await replies(page).last().locator(':scope[data-status=complete]').waitFor();
    expect((await followReply(page)).text).toContain('Paris');
    expect(await settingsOf(page)).toMatchObject({ device: 'cpu' });
    expect(await button(page, 'Run on the CPU').count()).toBe(0);
  });
});

describe('a GPU that failed mid-reply', () => {
  const home = temporaryHome();
  let running: RunningApp;
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('leaves text and sentence in the chat, and the CPU goes on in the same message', async () => {
    const begun = 'The capital of France is';
    const sentence = 'The GPU failed while it computed a token: unspecified launch failure.';
    const file = path.join(home, 'hunch.db');
    const { db } = openDatabase(file);
    const store = new ChatStore(db, file);
    const sampling = { ...defaultSampling, temperature: 0, maxTokens: 200 };
    const chat = store.create({ systemPrompt: '', sampling, sparsity: defaultSparsity });
    const [asked, answered] = [randomUUID(), randomUUID()];
    const question = { text: 'What is the capital of France?', status: 'complete', provenance: null } as const;
    const provenance = { modelId: stockModelId, modelName: 'm', sampling: { ...sampling, seed: 1 }, sparsity: 'dense' };
    store.append(
      chat.id,
      [
        { ...question, id: asked, parentId: null, role: 'user' },
        { id: answered, parentId: asked, role: 'assistant', text: begun, status: 'streaming', provenance },
      ],
      'France',
    );
    store.changeMessage(answered, { status: 'interrupted', error: { code: 'gpu-failed', message: sentence } });
    store.close();

    running = await launchApp({ home, settings: greedy });
    const { page } = running;
    await modelReady(page);
    await openChat(page, 'France');
    const reply = replies(page).last();
    await reply.getByText(sentence).waitFor();
    await addAxe(page);
    expect(await findings(page)).toEqual([]);
    await button(reply, 'Go on on the CPU').click();
    await replies(page).last().locator(':scope[data-status=complete]').waitFor();
    expect(await textOf(reply)).toMatch(/^The capital of France is.*Paris/s);
    expect(await replies(page).count()).toBe(1);
    expect(await settingsOf(page)).toMatchObject({ device: 'cpu' });
    await page.getByText('Models now run on the CPU.').first().waitFor();
  });
});

describe('where neurons lie', () => {
  let running: RunningApp;
  afterAll(() => running?.close());

  it('is one line when all of them lie in one place, as the engine says, while a reply runs and after', async () => {
    running = await launchApp({ settings: { ...endless, theme: 'light' } });
    const { page } = running;
    await modelReady(page);
    await openPanel(page);
    await showView(page, 'Where neurons lie');
    const line = panel(page).getByText(/^All neurons of all \d+ layers lie/);
    await line.waitFor();
    const asked = await page.evaluate(async () => {
      const answer = await (globalThis as unknown as WithApi).api.activity.residency();
      return answer.ok ? answer.value : null;
    });
    const where = usable ? 'on the GPU' : 'in main memory';
    expect(await line.textContent()).toContain(`${asked!.gpu.length} layers lie ${where}`);
    expect(Number(asked![usable ? 'gpu' : 'memory'][0])).toBeGreaterThan(0);
    expect(Number(asked![usable ? 'gpuBytes' : 'memoryBytes'])).toBeGreaterThan(50e6);
    await addAxe(page);
    expect(await findings(page)).toEqual([]);
    await send(page, 'Write a very long story about a lighthouse keeper.');
    await replyBegun(page);
    await line.waitFor();
    await composer(page).focus();
    await page.keyboard.press('Escape');
    expect((await followReply(page)).status).toBe('stopped');
  });

  // A GPU that holds the model holds all of its neurons.
  it.skipIf(usable)(
    'is a bar for each layer when the main memory may not take all of them, and the reply comes',
    async () => {
      await running.close();
      const home = temporaryHome();
      const models = path.join(home, 'models');
      linkStarter(models);
      running = await launchApp({
        home,
        models,
        settings: { ...endless, defaultModelId: 'sparse', memoryBudgetMb: 60 },
      });
      const { page } = running;
      await modelReady(page);
      await openPanel(page);
      await showView(page, 'Where neurons lie');
      const bars = panel(page).getByRole('img', { name: /^Where neurons lie, 30 layers/ });
      await bars.waitFor();
      await send(page, 'Write a very long story about a lighthouse keeper.');
      await replyBegun(page);
      await composer(page).focus();
      await page.keyboard.press('Escape');
      const reply = await followReply(page);
      expect(reply.status).toBe('stopped');
      const asked = await page.evaluate(async () => {
        const answer = await (globalThis as unknown as WithApi).api.activity.residency();
        return answer.ok ? answer.value : null;
      });
      for (const [layer, onDisk] of asked!.disk.entries()) expect(asked!.memory[layer]! + onDisk).toBe(1536);
      expect(asked!.disk.reduce((sum, n) => sum + n, 0)).toBeGreaterThan(0);
      const costs = panel(page).getByRole('row', { name: /^Since this view was opened/ });
      expect(await costs.textContent()).toMatch(/\d(\.\d+)? [MG]B/);
      await panel(page).getByRole('checkbox', { name: 'Table' }).click();
      await panel(page).getByRole('columnheader', { name: 'Disk', exact: true }).waitFor();
      await addAxe(page);
      expect(await findings(page)).toEqual([]);
    },
  );
});
