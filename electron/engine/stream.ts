import type { ReplyProgress } from './runtime';

/** At most 60 events per second reach the window: one per frame of a usual screen. Whole ms, as timers have them. */
const intervalMs = 17;

/**
 * Joins a reply's tokens into at most one event per frame. The first event goes out at once, so the first token is not
 * held back; a prefill event is replaced by a later one.
 */
export class Coalescer {
  private pending: ReplyProgress | null = null;
  private timer: NodeJS.Timeout | null = null;
  private lastSent = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly send: (event: ReplyProgress) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  push(event: ReplyProgress): void {
    // The kinds keep their order: prefill ends before text begins, so a new kind sends the old one on its way.
    if (this.pending && this.pending.type !== event.type) this.flush();
    this.pending =
      this.pending?.type === 'text' && event.type === 'text'
        ? { ...event, text: this.pending.text + event.text }
        : event;
    const wait = this.lastSent + intervalMs - this.now();
    if (wait <= 0) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), wait);
  }

  /** Sends what is held back; called before a reply's end. */
  flush(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    if (!this.pending) return;
    const event = this.pending;
    this.pending = null;
    this.lastSent = this.now();
    this.send(event);
  }
}
