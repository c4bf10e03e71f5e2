import type { TextStream } from '../models/textStream';
import type { Tokenizer } from '../models/tokenizer';
import type { ReplyProgress } from './runtime';

/** Gathers one reply's tokens into text and passes the text on as it becomes complete. */
export class ReplyText {
  text = '';
  timeToFirstTokenMs = 0;
  /**
   * The tokens up to the last one that ended with a whole character, and exactly their text. A reply stopped inside a
   * character can be continued from here.
   */
  readonly settled: { text: string; tokens: number[] } = { text: '', tokens: [] };

  private readonly stream: TextStream;
  private readonly tokens: number[] = [];
  private firstTokenAt = 0;

  /** `begin`: when the reply was asked for, by performance.now(). */
  constructor(
    tokenizer: Tokenizer,
    private readonly begin: number,
    private readonly onEvent: (event: ReplyProgress) => void,
  ) {
    this.stream = tokenizer.stream();
  }

  push(ids: readonly number[]): void {
    const now = performance.now();
    if (this.tokens.length === 0) {
      this.firstTokenAt = now;
      this.timeToFirstTokenMs = now - this.begin;
    }
    let added = '';
    for (const id of ids) {
      this.tokens.push(id);
      added += this.stream.push([id]);
      if (this.stream.complete) {
        this.settled.text = this.text + added;
        for (let at = this.settled.tokens.length; at < this.tokens.length; at++) {
          this.settled.tokens.push(this.tokens[at] as number);
        }
      }
    }
    if (added === '') return;
    this.text += added;
    const [tokens, elapsed] = [this.tokens.length, now - this.firstTokenAt];
    const tokensPerSecond = tokens > 1 && elapsed > 0 ? ((tokens - 1) / elapsed) * 1000 : 0;
    this.onEvent({ type: 'text', text: added, tokens, tokensPerSecond });
  }
}
