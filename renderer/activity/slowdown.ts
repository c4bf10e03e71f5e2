import type { CaptureMode } from '../../electron/contract/activity';

/** How fast a finished reply was written, and what was captured meanwhile. */
export interface SpeedSample {
  chatId: string;
  mode: CaptureMode;
  /** Model and place of the slider: only replies made alike are compared. */
  made: string;
  tokensPerSecond: number;
}

export interface Slowdown {
  /** Median tokens a second with capture and without. */
  captured: number;
  free: number;
  /** 0.02 = 2 % slower; may be below 0. */
  share: number;
  replies: number;
  freeReplies: number;
}

/** Shorter replies say nothing about speed. */
export const leastTokens = 24;

const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

/** Null until this chat has replies of both kinds that were made alike. */
export function slowdownOf(samples: readonly SpeedSample[], chatId: string | null, mode: CaptureMode): Slowdown | null {
  const own = samples.filter((sample) => sample.chatId === chatId);
  const made = [...own].reverse().find((sample) => sample.mode === mode)?.made;
  const captured = own.filter((sample) => sample.mode === mode && sample.made === made);
  const free = own.filter((sample) => sample.mode === 'off' && sample.made === made);
  if (captured.length === 0 || free.length === 0) return null;
  const [with_, without] = [captured, free].map((list) => median(list.map((sample) => sample.tokensPerSecond)));
  return {
    captured: with_!,
    free: without!,
    share: 1 - with_! / without!,
    replies: captured.length,
    freeReplies: free.length,
  };
}
