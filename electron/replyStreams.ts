import type { ReplyEvent, ReplyListener } from './contract/stream';

interface Stream {
  waiting: ReplyEvent[];
  listener: ReplyListener | null;
}

/** Replies nobody listens to whose events are kept; a page listens within milliseconds, so older ones are forgotten. */
const maxUnheard = 32;

/** Tokens whose frames wait at most; older ones are dropped. */
export const maxUnheardFrames = 4096;

/**
 * The preload's side of reply streams: events and their listener may come in either order. What comes early waits,
 * joined so that it cannot grow beyond the text itself.
 */
export class ReplyStreams {
  private readonly streams = new Map<string, Stream>();

  /** A new port for this reply. What an earlier one left behind is dropped, its listener stays. */
  open(replyId: string): void {
    this.stream(replyId).waiting = [];
  }

  receive(replyId: string, event: ReplyEvent): void {
    const stream = this.stream(replyId);
    if (stream.listener) this.deliver(replyId, stream.listener, event);
    else keep(stream.waiting, event);
  }

  /** Returns the function that ends the subscription. */
  listen(replyId: string, listener: ReplyListener): () => void {
    const stream = this.stream(replyId);
    stream.listener = listener;
    const waiting = stream.waiting;
    stream.waiting = [];
    for (const event of waiting) this.deliver(replyId, listener, event);
    return () => {
      if (this.streams.get(replyId)?.listener === listener) this.streams.delete(replyId);
    };
  }

  private deliver(replyId: string, listener: ReplyListener, event: ReplyEvent): void {
    if (event.type === 'done') this.streams.delete(replyId);
    listener(event);
  }

  private stream(replyId: string): Stream {
    let stream = this.streams.get(replyId);
    if (!stream) {
      stream = { waiting: [], listener: null };
      this.streams.set(replyId, stream);
      this.forgetUnheard();
    }
    return stream;
  }

  private forgetUnheard(): void {
    const unheard = [...this.streams].filter(([, stream]) => stream.listener === null);
    for (const [id] of unheard.slice(0, -maxUnheard)) this.streams.delete(id);
  }
}

/** Joins events of a kind; a `done` carries the whole message, so nothing before it matters. Text and frames come in turns. */
function keep(waiting: ReplyEvent[], event: ReplyEvent): void {
  if (event.type === 'done') waiting.length = 0;
  const at = waiting.findIndex(({ type }) => type === event.type);
  const before = waiting[at];
  if (before?.type === 'text' && event.type === 'text') {
    waiting[at] = { ...event, text: before.text + event.text };
  } else if (before?.type === 'frames' && event.type === 'frames') {
    waiting[at] = join(before, event);
  } else if (before) waiting[at] = event;
  else waiting.push(event);
}

type FramesEvent = Extract<ReplyEvent, { type: 'frames' }>;

/** Tokens follow on one another, or come again with their frames. The page gets the ones left out from the database (`activity.reply`). */
function join(before: FramesEvent, event: FramesEvent): FramesEvent {
  const [tokens, frames] = [[...before.tokens], [...before.frames]];
  for (const [i, token] of event.tokens.entries()) {
    const at = event.from + i - before.from;
    if (at < 0) continue;
    tokens[at] = token;
    frames[at] = event.frames[i] ?? null;
  }
  const over = Math.max(tokens.length - maxUnheardFrames, 0);
  return { ...before, from: before.from + over, tokens: tokens.slice(over), frames: frames.slice(over) };
}
