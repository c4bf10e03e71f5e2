import { createHash } from 'node:crypto';
import type { Comparison, NativeSession, Plan } from '../engine/addon';
import type { TextKind, Window } from './text';

/** How far a plan's text is from dense's, over windows. */
export interface Quality {
  perplexity: number;
  densePerplexity: number;
  /** perplexity / densePerplexity. */
  ratio: number;
  /** The ratio plus its standard error, which comes from the windows' own ratios. */
  upper: number;
  kl: number; // KL(dense ‖ plan), nats a token
  agreement: number; // share of positions with the same likeliest token
  positions: number;
}

/** Sums over windows that hang together as a sample: one text has easy and hard windows. */
export function qualityOf(windows: readonly Comparison[]): Quality {
  const sum = (of: (c: Comparison) => number): number => windows.reduce((total, c) => total + of(c), 0);
  const positions = sum((c) => c.positions);
  const difference = sum((c) => c.nll - c.referenceNll) / positions;
  const kl = sum((c) => c.kl) / positions;
  const squares = sum((c) => (c.nll - c.referenceNll - difference * c.positions) ** 2);
  const count = windows.length;
  // A single window has no spread of its own; that of a log-likelihood ratio is √(2 KL) a token.
  const error =
    count > 1 ? Math.sqrt((count / (count - 1)) * squares) / positions : Math.sqrt((2 * Math.max(0, kl)) / positions);
  return {
    perplexity: Math.exp(sum((c) => c.nll) / positions),
    densePerplexity: Math.exp(sum((c) => c.referenceNll) / positions),
    ratio: Math.exp(difference),
    upper: Math.exp(difference + error),
    kl,
    agreement: sum((c) => c.agree) / positions,
    positions,
  };
}

/** Quality on each kind of text apart; `results` go with the windows. */
export function qualityByKind(
  windows: readonly Window[],
  results: readonly Comparison[],
): Partial<Record<TextKind, Quality>> {
  const kinds = [...new Set(windows.map(({ kind }) => kind))];
  return Object.fromEntries(
    kinds.map((kind) => [kind, qualityOf(results.filter((_, index) => windows[index]!.kind === kind))]),
  );
}

/** The same for equal plans only. */
export function keyOf(plan: Plan | null): string {
  return createHash('sha256').update(JSON.stringify(plan)).digest('hex').slice(0, 16);
}

/** Runs every window with the plan and densely beside it. `onWindow` may throw. */
export async function compareOn(
  session: NativeSession,
  plan: Plan | null,
  windows: readonly Pick<Window, 'tokens' | 'from'>[],
  onWindow: (done: number, windows: number) => void = () => {},
): Promise<Comparison[]> {
  session.setPlan(plan);
  const results: Comparison[] = [];
  for (const { tokens, from } of windows) {
    results.push(await session.compare(null, tokens, from));
    onWindow(results.length, windows.length);
  }
  return results;
}

/** What decode steps of a plan give, beside dense ones in the same minute. */
export interface Speed {
  tokensPerSecond: number;
  /** Over the first plan's, median of the rounds' pairs. */
  speedup: number;
  /** Share of the MLPs' neurons that were computed. */
  density: number;
  /** By layer. */
  densities: number[];
  bytesPerToken: number;
  /** Share of the neurons that a predictor or a low-bit copy named. */
  named: number;
  /** Of the time. */
  predictorShare: number;
  /** Heads that a layer computed, on average. */
  headsPerLayer: number;
}

export interface SpeedOptions {
  /** Run from a new place each round. */
  text: Int32Array;
  /** Decode steps of a run. */
  steps: number;
  /** Tokens of context before them. */
  depth: number;
  rounds: number;
  neurons: number; // of a layer
  /** After each round; may throw. */
  onRound?: (done: number, rounds: number) => void;
}

/** Times plans in turns (A B C, C B A, …), so that what else the machine does hits all of them alike. The first is the reference. */
export async function measureSpeeds(
  session: NativeSession,
  plans: readonly (Plan | null)[],
  { text, steps, depth, rounds, neurons, onRound }: SpeedOptions,
): Promise<Speed[]> {
  const times = plans.map((): number[] => []);
  const sums = plans.map(() => ({
    tokens: 0,
    bytes: 0,
    named: 0,
    heads: 0,
    predictor: 0,
    seconds: 0,
    computed: [] as number[],
  }));
  const order = plans.map((_, index) => index);
  const run = async (index: number, count: number, from: number): Promise<number> => {
    session.setPlan(plans[index]!);
    const turned = Int32Array.from({ length: depth + count }, (_, i) => text[(from + i) % text.length]!);
    return (await session.bench(0, count, depth, turned)).decodeMs / count;
  };
  // Copies that a plan needs are made on its first run.
  for (const index of order) await run(index, Math.min(8, steps), 0);
  for (let round = 0; round < rounds; round++) {
    for (const index of order) {
      session.activity();
      times[index]!.push(await run(index, steps, round * steps));
      const { tokens, bytes, predictorSeconds, seconds, computed, named, heads } = session.activity();
      const sum = sums[index]!;
      sum.tokens += tokens;
      sum.bytes += bytes;
      sum.named += named.reduce((total, value) => total + value, 0);
      sum.heads += heads.reduce((total, value) => total + value, 0);
      sum.predictor += predictorSeconds;
      sum.seconds += seconds;
      computed.forEach((value, layer) => (sum.computed[layer] = (sum.computed[layer] ?? 0) + value));
    }
    order.reverse();
    onRound?.(round + 1, rounds);
  }
  return plans.map((_, index) => {
    const { tokens, bytes, named, heads, predictor, seconds, computed } = sums[index]!;
    const densities = computed.map((value) => value / tokens / neurons);
    return {
      tokensPerSecond: 1000 / median(times[index]!),
      speedup: median(times[index]!.map((time, round) => times[0]![round]! / time)),
      density: densities.reduce((sum, value) => sum + value, 0) / Math.max(1, densities.length),
      densities,
      bytesPerToken: bytes / tokens,
      named: named / tokens / neurons / Math.max(1, densities.length),
      predictorShare: seconds > 0 ? predictor / seconds : 0,
      headsPerLayer: heads / tokens / Math.max(1, densities.length),
    };
  });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
