export interface CrashLimits {
  /** This many crashes … */
  limit: number;
  /** … within this time, and the engine is not started again by itself. */
  windowMs: number;
  /** Pause before the next start after the first, second, … crash in the window. */
  pausesMs: readonly number[];
}

export const usualLimits: CrashLimits = { limit: 3, windowMs: 60_000, pausesMs: [200, 1000] };

/** When the engine crashed, and what follows from it. */
export class CrashLog {
  private times: number[] = [];

  constructor(
    private readonly limits: CrashLimits = usualLimits,
    private readonly now: () => number = Date.now,
  ) {}

  add(): void {
    this.times.push(this.now());
  }

  clear(): void {
    this.times = [];
  }

  tooMany(): boolean {
    return this.recent().length >= this.limits.limit;
  }

  /** Waits out the rest of the pause that the last crash asks for. */
  async pause(): Promise<void> {
    const recent = this.recent();
    const last = recent[recent.length - 1];
    if (last === undefined) return;
    const { pausesMs } = this.limits;
    const pause = pausesMs[Math.min(recent.length, pausesMs.length) - 1] ?? 0;
    const left = last + pause - this.now();
    if (left > 0) await new Promise((resolve) => setTimeout(resolve, left));
  }

  private recent(): number[] {
    const since = this.now() - this.limits.windowMs;
    this.times = this.times.filter((time) => time > since);
    return this.times;
  }
}
