import type { FramesProgress } from './activityTrail';

/** A picture that changes more often is hardly seen, and each one costs the engine's processor time in every process it passes. */
const liveMs = 50;
/** Tokens that go out with all their frames at a time, and how often they do while a reply is written. */
const wholeTokens = 64;
const wholeMs = 1000;
/** Bytes of frames that wait at most. */
const mostBytes = 128 * 2 ** 20;

/**
 * A reply's frames on their way out of the engine's process. Carrying every frame at once slowed the engine down by a tenth, so while it
 * writes, tokens come with the newest frame only, 20 times a second; all frames follow at 64 a second, and at the reply's end.
 */
export class FramesPace {
  /** Tokens from `from` on whose frames did not all go out yet. */
  private held: FramesProgress = { type: 'frames', from: 0, tokens: [], frames: [], whole: true };
  private heldBytes = 0;
  /** Index of the first token that was not told at all. */
  private untold = 0;
  private lastLive = Number.NEGATIVE_INFINITY;
  private lastWhole: number;

  constructor(
    private readonly emit: (event: FramesProgress) => void,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.lastWhole = now();
  }

  push({ tokens, frames }: FramesProgress): void {
    this.held.tokens.push(...tokens);
    this.held.frames.push(...frames);
    for (const frame of frames) this.heldBytes += frame?.byteLength ?? 0;
    const now = this.now();
    if (now - this.lastLive >= liveMs) this.emitLive(now);
    if (this.heldBytes > mostBytes || (this.held.tokens.length >= wholeTokens && now - this.lastWhole >= wholeMs)) {
      this.emitWhole(now);
    }
  }

  /** The reply is over: what is held goes out. */
  end(): void {
    while (this.held.tokens.length > 0) this.emitWhole(this.now());
  }

  private emitLive(now: number): void {
    const { from, tokens, frames } = this.held;
    const begin = this.untold - from;
    if (begin >= tokens.length) return;
    let newest = frames.length - 1;
    while (newest >= begin && frames[newest] === null) newest--;
    this.emit({
      type: 'frames',
      from: this.untold,
      tokens: tokens.slice(begin),
      frames: frames.slice(begin).map((frame, i) => (begin + i === newest ? frame : null)),
      whole: false,
    });
    this.untold = from + tokens.length;
    this.lastLive = now;
  }

  /** Only of tokens that were told: a later event must not take their frames away again. */
  private emitWhole(now: number): void {
    if (this.untold < this.held.from + Math.min(wholeTokens, this.held.tokens.length)) this.emitLive(now);
    const { from, tokens, frames } = this.held;
    const part = { tokens: tokens.slice(0, wholeTokens), frames: frames.slice(0, wholeTokens) };
    this.emit({ type: 'frames', from, ...part, whole: true });
    const [restTokens, restFrames] = [tokens.slice(wholeTokens), frames.slice(wholeTokens)];
    this.held = { ...this.held, from: from + part.tokens.length, tokens: restTokens, frames: restFrames };
    for (const frame of part.frames) this.heldBytes -= frame?.byteLength ?? 0;
    this.lastWhole = now;
  }
}
