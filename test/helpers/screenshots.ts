import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { defaultSampling } from '../../electron/contract/entities';
import type { WithApi } from './api';
import { launchApp, temporaryHome, type RunningApp } from './app';
import {
  button,
  conversation,
  followReply,
  modelButton,
  modelReady,
  notices,
  openChat,
  replies,
  replyBegun,
  send,
} from './chat';
import { answerDialogs } from './dialogs';
import { storeChat } from './seed';

const sky = 'Explain in two sentences why the sky is blue.';
const palindrome = 'Write a Python function that finds palindromes.';
const story = 'Write a very long story about a lighthouse keeper.';

/** Pictures of what a person meets, light and dark; replies are the real model's, made on this machine. */
export async function takeScreenshots(folder: string, onSaved: (file: string) => void): Promise<void> {
  mkdirSync(folder, { recursive: true });
  const home = temporaryHome();
  const settings = { defaultSampling: { ...defaultSampling, temperature: 0, seed: 11 } };
  // Yesterday's chats would need a clock; a sidebar with a few titles needs only these.
  for (const title of [
    'Give me three ideas for a rainy Sunday.',
    'What should I pack for a weekend in the mountains?',
  ]) {
    storeChat(home, title, [title, 'That depends on you.']);
  }
  let running: RunningApp | undefined;
  try {
    running = await launchApp({ home, settings, hooks: ['dialogs.cjs'] });
    const { page } = running;
    const shoot = async (name: string): Promise<void> => {
      await page.mouse.move(0, 0);
      await page.evaluate(settled);
      const file = path.join(folder, `${name}.png`);
      await page.screenshot({ path: file });
      onSaved(file);
    };
    const theme = async (name: 'light' | 'dark'): Promise<void> => {
      await page.evaluate((theme) => (globalThis as unknown as WithApi).api.settings.set({ theme }), name);
      await page.locator(`html[data-theme=${name}]`).waitFor();
    };
    const newChat = (): Promise<void> => page.keyboard.press('Control+n');

    await resize(running, 1280, 800);
    await theme('light');
    await modelReady(page);
    await shoot('start-light');

    await send(page, sky);
    await followReply(page);
    await newChat();
    await send(page, palindrome);
    await followReply(page);
    await shoot('chat-light');

    await theme('dark');
    await newChat();
    await send(page, story);
    await replyBegun(page);
    await conversation(page)
      .getByText(/[4-9]\d tokens/)
      .waitFor();
    await shoot('writing-dark');
    await killEngine(running);
    await replies(page).last().locator(':scope[data-status=interrupted]').waitFor();
    await modelReady(page);
    await shoot('interrupted-dark');

    await openChat(page, sky);
    await button(replies(page).last(), 'Regenerate').click();
    await replies(page).last().getByText('2/2').waitFor();
    await page.keyboard.press('Control+.');
    await shoot('chat-dark-settings');
    await page.keyboard.press('Control+.');

    await modelButton(page).click();
    await page.getByRole('dialog', { name: 'Models' }).waitFor();
    await shoot('models-dark');
    await page.keyboard.press('Escape');

    await theme('light');
    await page.keyboard.press('Control+,');
    await page.getByRole('dialog', { name: 'Settings' }).waitFor();
    await shoot('settings-light');
    await page.getByRole('tab', { name: 'Performance' }).click();
    await page.getByText('Looking for GPUs…').waitFor({ state: 'detached' });
    await shoot('performance-light');
    await theme('dark');
    await shoot('performance-dark');
    await theme('light');
    await page.keyboard.press('Escape');

    await answerDialogs(running, { file: path.join(home, 'settings.json') });
    await modelButton(page).click();
    await button(page, 'Import a .gguf file…').click();
    await notices(page).getByText('is not a GGUF model').waitFor();
    await shoot('problem-light');
    await button(page, 'Dismiss').click();

    // The sparse starter, whose pack came along.
    await page.evaluate(
      (modelId) => (globalThis as unknown as WithApi).api.models.select({ modelId }),
      'smollm2-135m-instruct-relu',
    );
    await modelReady(page);
    await newChat();
    await page.keyboard.press('Control+.');
    const slider = page.getByRole('slider', { name: /sparsity/i });
    await slider.focus();
    await page.keyboard.press('PageUp');
    await page.keyboard.press('PageUp');
    await send(page, sky);
    await followReply(page);
    await shoot('sparsity-light');
    await theme('dark');
    await shoot('sparsity-dark');
    await page.keyboard.press('Control+.');

    await openChat(page, palindrome);
    await resize(running, 700, 600);
    await page.getByRole('complementary', { name: 'Sidebar' }).waitFor({ state: 'detached' });
    await shoot('narrow-dark');
  } finally {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  }
}

/** Runs in the page: waits for the end of animations that have one. */
async function settled(): Promise<void> {
  const ending = document.getAnimations().filter(({ effect }) => effect?.getComputedTiming().endTime !== Infinity);
  await Promise.all(ending.map(({ finished }) => finished.catch(() => {})));
}

function resize({ app }: RunningApp, width: number, height: number): Promise<void> {
  const size = { width, height };
  return app.evaluate(({ BrowserWindow }, { width, height }) => {
    BrowserWindow.getAllWindows()[0]!.setContentSize(width, height);
  }, size);
}

async function killEngine({ app }: RunningApp): Promise<void> {
  const pid = await app.evaluate(({ app }) => app.getAppMetrics().find(({ name }) => name === 'Hunch engine')!.pid);
  process.kill(pid, 'SIGKILL');
}
