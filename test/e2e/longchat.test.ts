import { rmSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { greedy, launchApp, temporaryHome, type RunningApp } from '../helpers/app';
import { button, chatRow, conversation, followReply, modelReady, openChat, replies, send } from '../helpers/chat';
import { storeChat } from '../helpers/seed';

const pairs = 150;

/** About what a model writes: a paragraph, a list, code, a table. */
const reply = (
  n: number,
): string => `Reply number ${n} begins with a paragraph. It has *some* emphasis, \`code\` and a [link](https://example.com/${n}), and it
goes on for a while so that its lines wrap in a window of usual width, which is what long chats are made of.

1. First of all, number ${n}.
2. Then **something else**, with a longer text behind it.
3. And the last one.

\`\`\`python
def number_${n}(values):
    return [value * ${n} for value in values if value > ${n}]
\`\`\`

| left | right |
| ---- | ----- |
| ${n} | ${n + 1} |
`;

describe(`a chat of ${2 * pairs} messages`, () => {
  const home = temporaryHome();
  let running: RunningApp;
  let page: Page;

  beforeAll(async () => {
    const texts = Array.from({ length: pairs }, (_, i) => [`Question number ${i + 1}`, reply(i + 1)]).flat();
    storeChat(home, 'Long', texts);
    // The model reads the whole chat before it writes, so here the messages are many but of few tokens.
    const short = Array.from({ length: pairs }, (_, i) => ['Next?', `1. **${i + 1}**\n2. \`ok\``]).flat();
    storeChat(home, 'Short messages', short);
    running = await launchApp({ home, settings: greedy });
    page = running.page;
    await modelReady(page);
  });
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  it('opens at its end, quickly', async () => {
    await chatRow(page, 'Long').waitFor();
    const start = Date.now();
    await chatRow(page, 'Long').click();
    await page.getByText(`Reply number ${pairs} begins`).waitFor();
    const ms = Date.now() - start;
    console.log(`opened in ${ms} ms with ${await articles(page)} messages drawn`);
    expect(ms).toBeLessThan(5000);
    await expect.poll(() => fromBottom(page)).toBeLessThan(60);
  });

  it('scrolls up to its first message and back', async () => {
    await drawAll(page);
    await conversation(page).evaluate((log) => (log.scrollTop = 0));
    await page.getByText('Question number 1', { exact: true }).waitFor();
    await button(page, 'Jump to latest').click();
    await expect.poll(() => fromBottom(page)).toBeLessThan(60);
  });

  it('grows by a reply without drawing the others again', async () => {
    await openChat(page, 'Short messages');
    await drawAll(page);
    await button(page, 'Jump to latest').click();
    await send(page, 'Write a very long story about a lighthouse keeper.');
    await replies(page)
      .last()
      .locator(':scope[data-status=streaming] > [class*="markdown"]')
      .waitFor({ timeout: 180_000 });
    await watchWork(page);
    const cpu = await cpuClock(page);
    await followReply(page);
    const [spent, { ms, tasks, frames, others }] = [await cpu(), await work(page)];
    const perFrame = spent / frames;
    console.log(
      `${ms} ms of streaming: ${frames} changes drawn at ${perFrame.toFixed(1)} ms of processor time each, ` +
        `${tasks.length} tasks over 50 ms, the longest ${Math.max(0, ...tasks)} ms`,
    );
    expect(frames).toBeGreaterThan(10);
    // What has been drawn stays as it is, and costs nothing: a change costs what it costs in an empty chat.
    expect(others).toBe(0);
    expect(perFrame).toBeLessThan(40);
  }, 300_000);
});

const articles = (page: Page): Promise<number> => conversation(page).locator('article').count();

const fromBottom = (page: Page): Promise<number> =>
  conversation(page).evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);

/** Scrolls up until every message is drawn; earlier ones are drawn when the top comes near. */
async function drawAll(page: Page): Promise<void> {
  for (let before = 0; (before = await articles(page)) < 2 * pairs;) {
    const scrolled = async (): Promise<number> => {
      await conversation(page).evaluate((log) => (log.scrollTop = 0));
      return articles(page);
    };
    await expect.poll(scrolled, { interval: 20, timeout: 20_000 }).toBeGreaterThan(before);
  }
  expect(await articles(page)).toBe(2 * pairs);
}

interface Work {
  ms: number;
  tasks: number[]; // durations of tasks over 50 ms of wall time, so on a busy machine there are some
  /** Changes of the last message, at most one a frame, and of any other one. */
  frames: number;
  others: number;
}
type Working = { hunchWork: Work };

async function watchWork(page: Page): Promise<void> {
  await page.evaluate(() => {
    const work: Work = { ms: -performance.now(), tasks: [], frames: 0, others: 0 };
    (globalThis as unknown as Working).hunchWork = work;
    new PerformanceObserver((list) => {
      work.tasks.push(...list.getEntries().map(({ duration }) => Math.round(duration)));
    }).observe({ entryTypes: ['longtask'] });
    const log = document.querySelector('[role=log]')!;
    const last = [...log.querySelectorAll('article')].pop()!;
    new MutationObserver((records) => {
      const outside = records.filter(({ target }) => !last.contains(target)).length;
      work.others += outside;
      if (outside < records.length) work.frames++;
    }).observe(log, { childList: true, characterData: true, subtree: true });
  });
}

const work = (page: Page): Promise<Work> =>
  page.evaluate(() => {
    const { hunchWork } = globalThis as unknown as Working;
    return { ...hunchWork, ms: Math.round(hunchWork.ms + performance.now()) };
  });

/** Processor time of the page's main thread since the call, ms: unlike wall time it does not depend on who else runs. */
async function cpuClock(page: Page): Promise<() => Promise<number>> {
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const read = async (): Promise<number> => {
    const { metrics } = await devtools.send('Performance.getMetrics');
    return metrics.find(({ name }) => name === 'TaskDuration')!.value * 1000;
  };
  const start = await read();
  return async () => (await read()) - start;
}
