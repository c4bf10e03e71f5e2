import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import path from 'node:path';
import { defaultSampling } from '../../electron/contract/entities';
import { stopPosition } from '../../electron/contract/sparsity';
import { capture, goToToken, map, openPanel, panel, resize, runsDone, showView } from './activityPage';
import type { WithApi } from './api';
import { launchApp, root, temporaryHome, type RunningApp } from './app';
import { followReply, modelReady, send } from './chat';
import { catalogue } from '../../electron/models/catalogue';
import { giveScreened } from './sparseModel';

const question = 'Explain in two sentences why the sky is blue.';

/** Pictures of every view of the activation panel, of a real chat with the starter model. */
export async function takeActivityScreenshots(folder: string, onSaved: (file: string) => void): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const home = temporaryHome();
  let running: RunningApp | undefined;
  const models = path.join(home, 'models');
  try {
    // Not linkStarter, which knows its place by __dirname: this module is loaded as an ES module.
    const starter = catalogue.find(({ embedded }) => embedded)!;
    const model = path.join(models, 'sparse.gguf');
    mkdirSync(models);
    symlinkSync(path.join(root, 'assets', 'models', starter.fileName), model);
    await giveScreened(model);
    running = await launchApp({
      home,
      models,
      settings: {
        defaultModelId: 'sparse',
        defaultSampling: { ...defaultSampling, temperature: 0, seed: 11, maxTokens: 120 },
        defaultSparsity: { position: stopPosition('fast'), correction: false, speculation: false },
        sidebarOpen: false,
        activityAuditEvery: 4,
      },
      hooks: ['dialogs.cjs'],
    });
    const { page } = running;
    const shoot = async (name: string): Promise<void> => {
      await page.mouse.move(0, 0);
      await page.waitForTimeout(700);
      const file = path.join(folder, `activity-${name}.png`);
      await page.screenshot({ path: file });
      onSaved(file);
    };
    const theme = async (name: 'light' | 'dark'): Promise<void> => {
      await page.evaluate((theme) => (globalThis as unknown as WithApi).api.settings.set({ theme }), name);
      await page.locator(`html[data-theme=${name}]`).waitFor();
    };
    await resize(running, 1280, 860);
    await theme('light');
    await modelReady(page);
    await openPanel(page);
    await capture(page, 'Every neuron');
    await send(page, question);
    await followReply(page);
    await page.waitForTimeout(500);
    await goToToken(page, 22);
    await shoot('panel-light');
    await page.getByRole('button', { name: 'Use the whole height' }).click();
    await map(page, /^Layers and blocks/).focus();
    for (let i = 0; i < 13; i++) await page.keyboard.press('ArrowDown');
    for (let i = 0; i < 20; i++) await page.keyboard.press('ArrowRight');
    await shoot('neurons-light');
    await panel(page).getByRole('combobox', { name: 'Show', exact: true }).selectOption('state');
    await shoot('states-light');
    await theme('dark');
    await shoot('states-dark');
    await showView(page, 'Heads');
    await shoot('heads-dark');
    await theme('light');
    await showView(page, 'Every neuron');
    await shoot('every-neuron-light');
    await theme('dark');
    await shoot('every-neuron-dark');
    await theme('light');
    await showView(page, 'One layer');
    await shoot('layer-light');
    await showView(page, 'Over time');
    await shoot('time-light');
    await showView(page, 'Layers');
    await shoot('layers-light');
    await showView(page, 'What stands out');
    await page.waitForTimeout(500);
    await shoot('stands-out-light');
    await showView(page, 'Logit lens');
    await page.getByRole('region', { name: 'Raw logit lens' }).waitFor();
    await shoot('lens-light');
    await showView(page, 'Compare');
    await page.getByRole('button', { name: 'A/B: write both' }).click();
    await page.waitForTimeout(300);
    await runsDone(page);
    await goToToken(page, 22);
    await shoot('compare-light');
    await showView(page, 'Intervene');
    await page.getByLabel('Place').fill('layer 2 head 3');
    await page.keyboard.press('Enter');
    await page.getByLabel('Place').fill('layer 0 head 1');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: /^Regenerate with/ }).click();
    await page.waitForTimeout(300);
    await runsDone(page);
    await shoot('intervene-light');
    await theme('dark');
    await showView(page, 'Compare');
    await shoot('compare-dark');

    // Less memory than the model's weights take: part of the neurons stays on the disk.
    await page.evaluate(() => (globalThis as unknown as WithApi).api.settings.set({ memoryBudgetMb: 60 }));
    await page.waitForTimeout(300);
    await modelReady(page);
    await showView(page, 'Where neurons lie');
    await page.getByRole('button', { name: 'Show the conversation beside the activations' }).click();
    await send(page, question);
    await followReply(page);
    await page.getByRole('button', { name: 'Use the whole height' }).click();
    await shoot('residency-dark');
    await theme('light');
    await shoot('residency-light');
  } finally {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  }
}
