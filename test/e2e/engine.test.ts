import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { endless, launchApp, type RunningApp } from '../helpers/app';
import {
  button,
  composer,
  followReply,
  grown,
  idOf,
  modelReady,
  questions,
  replies,
  replyBegun,
  send,
  textOf,
} from '../helpers/chat';

/** The engine is a process of its own; here it is killed as a faulty kernel or a lost device would end it. */
describe('the engine dies', () => {
  let running: RunningApp;
  beforeAll(async () => {
    running = await launchApp({ settings: endless });
  });
  afterAll(() => running?.close());

  const enginePid = (): Promise<number | undefined> =>
    running.app.evaluate(({ app }) => app.getAppMetrics().find(({ name }) => name === 'Hunch engine')?.pid);

  it('while it writes: the chat stays, the engine starts again, and Continue goes on in the same message', async () => {
    const { page } = running;
    await send(page, 'Write a very long story about a lighthouse keeper.');
    const reply = await replyBegun(page);
    const id = await idOf(reply);
    const pid = (await enginePid())!;
    process.kill(pid, 'SIGKILL');

    await reply.locator(':scope[data-status=interrupted]').waitFor();
    const kept = await textOf(reply);
    expect(kept.length).toBeGreaterThan(0);
    expect(await reply.textContent()).toMatch(/The engine stopped while it was working.*press Continue to go on/s);
    expect(await questions(page).count()).toBe(1);
    await modelReady(page);
    await expect.poll(enginePid).not.toBe(pid);

    await button(reply, 'Continue').click();
    await grown(reply, kept);
    await page.keyboard.press('Escape');
    const { status } = await followReply(page);
    expect(status).toBe('stopped');
    expect(await replies(page).count()).toBe(1);
    expect(await idOf(reply)).toBe(id);
    expect((await textOf(reply)).startsWith(kept)).toBe(true);
    expect((await textOf(reply)).length).toBeGreaterThan(kept.length);
  });

  it('while it rests: the next message is answered as if nothing had happened', async () => {
    const { page } = running;
    const pid = (await enginePid())!;
    process.kill(pid, 'SIGKILL');
    await expect.poll(async () => ![undefined, pid].includes(await enginePid()), { timeout: 20_000 }).toBe(true);
    await modelReady(page);
    await send(page, 'What is the capital of France?');
    const reply = await followReply(page);
    expect(reply.status).toBe('complete');
    expect(reply.text.length).toBeGreaterThan(0);
  });

  it('a third time within a minute: it stays off, says so, and one click brings it back', async () => {
    const { page } = running;
    await composer(page).fill('This is not sent yet.');
    // How long the two kills above are ago depends on the machine; more than three are certainly enough.
    const banner = page.getByRole('alert').filter({ hasText: 'several times within a minute' });
    await expect
      .poll(
        async () => {
          const pid = await enginePid();
          if (pid !== undefined) process.kill(pid, 'SIGKILL');
          return banner.count();
        },
        { timeout: 60_000, interval: 500 },
      )
      .toBe(1);
    expect(await composer(page).inputValue()).toBe('This is not sent yet.');
    expect(await questions(page).count()).toBe(2);
    await button(banner, 'Restart engine').click();
    await modelReady(page);
    await banner.waitFor({ state: 'detached' });
  });
});
