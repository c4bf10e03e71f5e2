import type { ReplyProgress } from './runtime';

/** At most 60 events of a kind per second reach the window: one per frame of a usual screen. Whole ms, as timers have them. */
const intervalMs = 17;

/**
 * Joins a reply's tokens into at most one event of a kind per frame. The first event goes out at once, so the first token is not
 * held back; a prefill event is replaced by a later one. Text goes before the activation frames of its tokens.
 */
export class Coalescer {
  /** One of a kind at most, in the order in which they go out. */
  private pending: ReplyProgress[] = [];
  private timer: NodeJS.Timeout | null = null;
  private lastSent = Number.NEGATIVE_INFINITY;

  constructor(
    private readonly send: (event: ReplyProgress) => void,
    private readonly now: () => number = () => performance.now(),
  ) {}

  push(event: ReplyProgress): void {
    // The kinds keep their order: prefill ends before text begins, so a new kind sends the old one on its way. Text and frames take turns.
    if (this.pending.some((one) => !goTogether(one, event))) this.flush();
    this.add(event);
    const wait = this.lastSent + intervalMs - this.now();
    if (wait <= 0) this.flush();
    else this.timer ??= setTimeout(() => this.flush(), wait);
  }

  /** Sends what is held back; called before a reply's end. */
  flush(): void {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    if (this.pending.length === 0) return;
    const events = this.pending;
    this.pending = [];
    this.lastSent = this.now();
    for (const event of events) this.send(event);
  }

  private add(event: ReplyProgress): void {
    const at = this.pending.findIndex(({ type }) => type === event.type);
    const before = this.pending[at];
    if (!before) {
      if (event.type === 'text') this.pending.unshift(event);
      else this.pending.push(event);
    } else if (before.type === 'text' && event.type === 'text') {
      this.pending[at] = { ...event, text: before.text + event.text };
    } else if (before.type === 'frames' && event.type === 'frames') {
      const [tokens, frames] = [before.tokens.concat(event.tokens), before.frames.concat(event.frames)];
      this.pending[at] = { ...before, tokens, frames };
    } else {
      this.pending[at] = event;
    }
  }
}

const isOutput = ({ type }: ReplyProgress): boolean => type === 'text' || type === 'frames';

function goTogether(one: ReplyProgress, other: ReplyProgress): boolean {
  if (one.type === 'frames' && other.type === 'frames') {
    // Those with all their frames are large enough as they are.
    return !one.whole && !other.whole && one.from + one.tokens.length === other.from;
  }
  return one.type === other.type || (isOutput(one) && isOutput(other));
}
