import { rmSync } from 'node:fs';
import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { allChats } from '../helpers/api';
import { endless, launchApp, temporaryHome, type RunningApp } from '../helpers/app';
import { button, chatRow, composer, followReply, idOf, replies, send, statusOf, textOf } from '../helpers/chat';
import { seededRandom } from '../helpers/random';
import { letters, sights, watchReply, type Sight } from '../helpers/sights';

const kills = 20;
/** A kill comes at most this long after the page was told that the reply began. */
const longestMs = 2000;
/** What the page showed this long before the kill must survive it. */
const graceMs = 1000;

const subjects = ['lighthouse', 'garden', 'winter journey', 'clockmaker', 'stray dog', 'library', 'small island'];

/** A message of the person's and its reply, as the page knew them before the last kill. */
interface Witness {
  question: string; // also the chat's title
  replyId: string;
  /** Text of the reply that must be there. */
  safe: string;
  /** The reply was being written when the app was killed. */
  cut: boolean;
}

interface Kill {
  at: number; // Date.now()
  sights: Sight[];
}

describe('kill -9 of the whole app', () => {
  it(`loses no message and at most the last second of a reply, at ${kills} random moments`, async () => {
    const seed = Number(process.env['HUNCH_KILL_SEED'] ?? Date.now() % 2 ** 31);
    console.log(`These moments again: HUNCH_KILL_SEED=${seed}`);
    const random = seededRandom(seed);
    const home = temporaryHome();
    const witnesses = new Map<string, Witness>();
    const losses: number[] = [];
    let current: Witness | null = null;
    let kill: Kill | null = null;
    try {
      for (let round = 1; ; round++) {
        const running = await launchApp(round === 1 ? { home, settings: endless } : { home });
        const { page } = running;
        if (current && kill) {
          const { lostMs, status } = await checkSurvivors(page, witnesses, current, kill);
          // A reply that had ended by itself is checked too, but that was no kill while streaming.
          current.cut = status === 'interrupted';
          if (current.cut) {
            losses.push(lostMs);
            await goOn(page, current);
          }
        }
        if (losses.length === kills) {
          await running.close();
          break;
        }
        // Half of the kills hit a new reply, the others one that is being continued.
        if (!current?.cut || random() < 0.5) {
          if (current?.cut) witnesses.set(current.replyId, await stop(page, current));
          const subject = subjects[round % subjects.length]!;
          current = await ask(page, `${round}: Write a very long story about a ${subject}.`);
        }
        await watchReply(page);
        const delay = Math.round(random() * longestMs);
        await page.waitForTimeout(delay); // the random moment: nothing to wait for
        ({ current, kill } = await killNow(running, current));
        witnesses.set(current.replyId, current);
      }
    } finally {
      rmSync(home, { recursive: true, force: true });
    }
    console.log(`lost before each kill, in ms: ${losses.join(' ')}`);
  }, 300_000);
});

/** Sends a message; the page clears the composer and shows the reply once both are acknowledged. */
async function ask(page: Page, question: string): Promise<Witness> {
  await page.keyboard.press('Control+n');
  await page.getByRole('heading', { level: 1, name: 'New chat' }).waitFor();
  await send(page, question);
  await replies(page).last().waitFor();
  await expect.poll(() => composer(page).inputValue()).toBe('');
  return { question, replyId: (await idOf(replies(page).last()))!, safe: '', cut: false };
}

async function stop(page: Page, witness: Witness): Promise<Witness> {
  await page.keyboard.press('Escape');
  const { status } = await followReply(page);
  expect(['stopped', 'complete']).toContain(status);
  return { ...witness, safe: letters(await textOf(replies(page).last())), cut: false };
}

async function killNow({ page, kill }: RunningApp, witness: Witness): Promise<{ current: Witness; kill: Kill }> {
  const seen = await sights(page);
  const cut = (await statusOf(replies(page).last())) === 'streaming';
  const at = Date.now();
  await kill();
  const old = seen.filter((sight) => sight.at <= at - graceMs).pop()?.text ?? '';
  const safe = letters(old).length > witness.safe.length ? letters(old) : witness.safe;
  return { current: { ...witness, safe, cut }, kill: { at, sights: seen } };
}

/** Everything acknowledged so far is there. Returns how long before the kill the page first showed text that is lost, ms. */
async function checkSurvivors(
  page: Page,
  witnesses: Map<string, Witness>,
  current: Witness,
  kill: Kill,
): Promise<{ lostMs: number; status: string }> {
  const chats = await allChats(page);
  for (const { question, replyId, safe } of witnesses.values()) {
    const messages = chats.find(({ title }) => title === question)?.messages ?? [];
    expect(messages.map(({ role }) => role)).toEqual(['user', 'assistant']);
    expect(messages[0]!.text).toBe(question);
    expect(messages[1]!.id).toBe(replyId);
    expect(letters(messages[1]!.text).slice(0, safe.length)).toBe(safe);
  }
  const stored = chats.flatMap(({ messages }) => messages).find(({ id }) => id === current.replyId)!;
  // It may have ended after the page was last looked at.
  expect(current.cut ? ['interrupted', 'complete'] : ['complete']).toContain(stored.status);
  const kept = letters(stored.text);
  const firstLost = kill.sights.find(({ text }) => letters(text).length > kept.length);
  return { lostMs: firstLost ? kill.at - firstLost.at : 0, status: stored.status };
}

/** The chat shows what was kept, and one click goes on in the same message. */
async function goOn(page: Page, { question, replyId, safe }: Witness): Promise<void> {
  await chatRow(page, question).click();
  const reply = replies(page).last();
  await reply.locator(':scope[data-status=interrupted]').waitFor();
  const before = letters(await textOf(reply));
  expect(before.slice(0, safe.length)).toBe(safe);
  await button(reply, 'Continue').click();
  await expect
    .poll(async () => letters(await textOf(reply)).length, { timeout: 60_000, interval: 50 })
    .toBeGreaterThan(before.length);
  expect(letters(await textOf(reply)).startsWith(before)).toBe(true);
  expect(await idOf(reply)).toBe(replyId);
}
