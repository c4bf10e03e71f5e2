import type { Message } from './entities';

/**
 * What travels over a reply's MessagePort, main → renderer, in order. The text is committed to the database before a
 * `done`; a renderer that missed messages (reload) asks `chats.get` instead.
 */
export type ReplyEvent =
  | { type: 'prefill'; done: number; total: number } // prompt tokens
  /** Appended text; totals so far. `offset`: length of the message's text before it (a page that was reloaded can tell what it has). */
  | { type: 'text'; text: string; tokens: number; tokensPerSecond: number; offset?: number }
  | { type: 'done'; message: Message }; // status complete, stopped, interrupted or failed; closes the port

/** The preload's hand-over to the page: the port itself stays in the preload, callbacks cross the bridge. */
export interface ReplyListener {
  (event: ReplyEvent): void;
}
