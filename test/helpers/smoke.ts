import { greedy, launchApp } from './app';
import { followReply, replies, send } from './chat';

export const question = 'What is the capital of France?';

/** Opens the window, asks one question and hands over the reply as it is written. Returns the statistics' text. */
export async function smoke(write: (text: string) => void): Promise<string> {
  // Without a choice of its own, so with the model that comes with Hunch.
  const running = await launchApp({ settings: { ...greedy, defaultModelId: undefined } });
  try {
    await send(running.page, question);
    const { text, stats, status } = await followReply(running.page, write);
    if (status !== 'complete' || text === '' || !/\d\s*tok\/s/.test(stats)) {
      const shown = await replies(running.page).last().innerText();
      throw new Error(`The reply is ${text === '' ? 'empty' : status}. The window shows: "${shown}"`);
    }
    return stats;
  } catch (error) {
    throw new Error(`${(error as Error).message}\nThe app wrote:\n${running.log().trim() || '(nothing)'}`, {
      cause: error,
    });
  } finally {
    await running.close();
  }
}
