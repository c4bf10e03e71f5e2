import type { RunningApp } from './app';

export interface Dialogs {
  /** Message boxes so far. */
  messages: { message: string; detail: string }[];
  /** Addresses that would have been opened in the browser. */
  opened: string[];
  /** Index of the button that the next message boxes get. */
  answer: number;
  /** What the next file dialogs answer; null cancels. */
  file: string | null;
}

type Holder = { hunchDialogs: Dialogs };

/** For an app launched with the hook `dialogs.cjs`. */
export const dialogs = ({ app }: RunningApp): Promise<Dialogs> =>
  app.evaluate(() => (globalThis as unknown as Holder).hunchDialogs);

export const answerDialogs = ({ app }: RunningApp, change: Partial<Pick<Dialogs, 'answer' | 'file'>>): Promise<void> =>
  app.evaluate((_electron, next) => void Object.assign((globalThis as unknown as Holder).hunchDialogs, next), change);
