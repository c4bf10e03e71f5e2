import type { ActivityToken } from './activity';
import type { Message } from './entities';

/**
 * What travels over a reply's MessagePort, main → renderer, in order. The text is committed to the database before a
 * `done`; a renderer that missed messages (reload) asks `chats.get` instead.
 */
export type ReplyEvent =
  | { type: 'prefill'; done: number; total: number } // prompt tokens
  | { type: 'text'; text: string; tokens: number; tokensPerSecond: number } // appended text; totals so far
  /**
   * While `activity.watch` is on: tokens [from, from + tokens.length) of this run with their frames (contract/frames.ts). While a fast
   * model writes, only the newest frames come; tokens whose frames were left out (null) come again with them, `done` at the latest.
   */
  | { type: 'frames'; from: number; tokens: ActivityToken[]; frames: (Uint8Array | null)[] }
  | { type: 'done'; message: Message }; // status complete, stopped, interrupted or failed; closes the port

/** The preload's hand-over to the page: the port itself stays in the preload, callbacks cross the bridge. */
export interface ReplyListener {
  (event: ReplyEvent): void;
}
