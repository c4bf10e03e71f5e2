import type { Message } from '../contract/entities';
import type { MessageChange } from './store';

export interface LiveReplyOptions {
  /** Commits to the database; throws when that fails. */
  save(change: MessageChange): void;
  onSaveError(error: unknown): void;
  /** The end is on the disk. */
  onEnded(): void;
  flushMs?: number;
  retryMs?: number;
}

/**
 * The text of a reply that is being written: in memory at once, in the database at most `flushMs` later and with the end.
 * When the disk is full the text stays here and saving is tried again until it works.
 */
export class LiveReply {
  private text: string;
  private timer: NodeJS.Timeout | null = null;
  private end: MessageChange | null = null;
  private noted: MessageChange = {};

  constructor(
    private message: Message,
    private readonly options: LiveReplyOptions,
  ) {
    this.text = message.text;
  }

  get chatId(): string {
    return this.message.chatId;
  }

  get ended(): boolean {
    return this.end !== null;
  }

  /** The message as it is now, further than the database may be. */
  snapshot(): Message {
    return { ...this.message, ...this.end, text: this.text };
  }

  append(text: string): void {
    this.text += text;
    this.timer ??= setTimeout(() => this.flush(), this.options.flushMs ?? 500);
  }

  /** What else changes while it is written; saved with the text. */
  note(change: MessageChange): void {
    this.message = { ...this.message, ...change };
    this.noted = { ...this.noted, ...change };
    this.timer ??= setTimeout(() => this.flush(), this.options.flushMs ?? 500);
  }

  /** Commits the end. False: not saved yet; it is tried again by itself. */
  finish(change: MessageChange): boolean {
    this.end = change;
    return this.flush();
  }

  /** Commits what there is. True when all of it is on the disk. */
  flush(): boolean {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    try {
      this.options.save({ ...this.noted, ...this.end, text: this.text });
      this.noted = {};
    } catch (error) {
      this.options.onSaveError(error);
      this.timer = setTimeout(() => this.flush(), this.options.retryMs ?? 5000);
      return false;
    }
    if (this.end) this.options.onEnded();
    return true;
  }
}
