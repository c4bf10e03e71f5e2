import path from 'node:path';
import { HunchError } from '../contract/errors';
import { stopPosition, type StopName } from '../contract/sparsity';
import type { Plan } from '../engine/addon';
import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import type { ResolvedModel } from '../models/library';
import { compareOn, keyOf, measureSpeeds, qualityOf, type Quality, type Speed } from '../sparsity/measure';
import { oracleCeiling, type Ceiling } from '../sparsity/oracle';
import { exactPlan } from '../sparsity/position';
import { circumstances } from './open';
import { print, printJson, progressLine } from './output';
import { textTokens } from './sparsity';

export interface BenchStopsOptions {
  text?: string;
  chunks: number;
  repetitions: number;
  /** Decode steps of a run. */
  tg?: number;
  depth: number;
  json?: boolean;
}

const windowTokens = 512;

/** One stop of the slider: how fast it is and, from the same code, what that does to the text. */
export interface StopRow {
  stop: StopName;
  speed: Speed;
  quality: Quality;
  /** With perfect prediction of the neurons that this stop computes; null for dense, which predicts nothing. */
  oracle: Ceiling | null;
}

/** `hunch bench --sparsity all --text FILE`: every stop that the model has. */
export async function benchStops(runtime: Runtime, resolved: ResolvedModel, options: BenchStopsOptions): Promise<void> {
  if (options.text === undefined) {
    throw new HunchError(
      'bad-request',
      '--sparsity all needs a text to judge the stops on. Give one with --text FILE.',
    );
  }
  const tokens = await textTokens(runtime, options.text, 2 * windowTokens);
  const progress = progressLine();
  try {
    const rows = await measureStops(runtime, tokens, options, (what) => progress.show(what));
    progress.end();
    report(runtime, resolved, rows, options);
  } catch (error) {
    throw fromNative(error);
  } finally {
    progress.end();
  }
}

/** Speeds in turns, then each stop's text quality on the same windows as `hunch perplexity`. */
export async function measureStops(
  runtime: Runtime,
  tokens: Int32Array,
  { chunks, repetitions, tg, depth }: Pick<BenchStopsOptions, 'chunks' | 'repetitions' | 'tg' | 'depth'>,
  onProgress: (what: string) => void,
): Promise<StopRow[]> {
  const { spec, sparsity, info } = runtime;
  const stops = sparsity.state.stops;
  const plans = stops.map((stop) => sparsity.planAt(stopPosition(stop)));
  const steps = tg ?? 96;
  const session = runtime.openSession(Math.min(info.trainedContext, Math.max(windowTokens, depth + steps)));
  try {
    const heads = distinct(plans.map((plan): Plan | null => plan && headOnly(plan, spec.layers)));
    const speeds = await measureSpeeds(session, plans, {
      ...{ text: tokens, steps, depth, rounds: repetitions, neurons: spec.ffnWidth },
      onRound: (round) => onProgress(`speed: ${round}/${repetitions}`),
    });
    const headSpeeds = await measureSpeeds(session, heads, {
      ...{ text: tokens, steps: Math.min(steps, 16), depth, rounds: 1, neurons: spec.ffnWidth },
    });
    const windows = cut(tokens, chunks, runtime.tokenizer);
    const qualities = new Map<string, Quality>();
    for (const [index, plan] of plans.entries()) {
      const key = keyOf(plan);
      if (qualities.has(key)) continue; // stops may share a plan
      const results = await compareOn(session, plan, windows, (done, all) =>
        onProgress(`perplexity of ${stops[index]}: ${done}/${all}`),
      );
      qualities.set(key, qualityOf(results));
    }
    return stops.map((stop, index): StopRow => {
      const [plan, speed] = [plans[index]!, speeds[index]!];
      const head = plan && headSpeeds[heads.findIndex((other) => keyOf(other) === keyOf(headOnly(plan, spec.layers)))];
      return {
        ...{ stop, speed, quality: qualities.get(keyOf(plan))! },
        oracle: head ? oracleCeiling(spec, speeds[0]!, speed, head) : null,
      };
    });
  } finally {
    session.close();
  }
}

/** llama-perplexity's windows: every scored token has at least half a window before it. */
function cut(
  tokens: Int32Array,
  chunks: number,
  { addBos, bos }: { addBos: boolean; bos: number | null },
): { tokens: Int32Array; from: number }[] {
  const count = Math.min(chunks, Math.floor(tokens.length / windowTokens));
  return Array.from({ length: count }, (_, index) => {
    const window = tokens.slice(index * windowTokens, (index + 1) * windowTokens);
    if (addBos && bos !== null) window[0] = bos;
    return { tokens: window, from: windowTokens / 2 };
  });
}

/** Dense layers with this plan's output head. */
function headOnly({ vocabulary }: Plan, layers: number): Plan {
  return { layers: exactPlan(layers).layers.map((layer) => ({ ...layer, mlp: 'dense' as const })), vocabulary };
}

function distinct(plans: (Plan | null)[]): (Plan | null)[] {
  return [...new Map(plans.map((plan) => [keyOf(plan), plan])).values()];
}

function report(runtime: Runtime, resolved: ResolvedModel, rows: StopRow[], options: BenchStopsOptions): void {
  const { name, quantization, isa, threads } = runtime.info;
  const file = path.basename(options.text!);
  const { problem, measured } = runtime.sparsity.state;
  if (options.json) {
    printJson({
      command: 'bench',
      ...circumstances(runtime, resolved),
      ...{ text: options.text, windowTokens, repetitions: options.repetitions, depth: options.depth },
      stops: rows.map(({ stop, speed, quality, oracle }) => ({ stop, ...speed, ...quality, oracle })),
      ...{ calibrated: measured, problem },
    });
    return;
  }
  print(
    `${name} ${quantization}, ${isa}, ${threads} threads: decode in turns, ${options.repetitions} rounds; ` +
      `perplexity in the loop on ${file}, ${rows[0]!.quality.positions} tokens`,
  );
  if (problem) print(problem);
  print(
    'stop         tok/s  × dense  perplexity      rise       KL  agree  density  MB/token  predict |  oracle MB  tok/s  × dense',
  );
  for (const { stop, speed, quality, oracle } of rows) {
    print(
      [
        stop.padEnd(8),
        speed.tokensPerSecond.toFixed(1).padStart(9),
        speed.speedup.toFixed(2).padStart(8),
        quality.perplexity.toFixed(3).padStart(11),
        percent(quality.ratio - 1, 2).padStart(9),
        Math.max(0, quality.kl).toFixed(4).padStart(8),
        percent(quality.agreement, 0).padStart(6),
        percent(speed.density, 1).padStart(8),
        (speed.bytesPerToken / 1e6).toFixed(1).padStart(9),
        percent(speed.predictorShare, 1).padStart(8),
        oracle
          ? `| ${(oracle.bytesPerToken / 1e6).toFixed(1).padStart(10)} ${oracle.tokensPerSecond.toFixed(0).padStart(6)} ${oracle.speedup.toFixed(2).padStart(8)}`
          : '|',
      ].join(' '),
    );
  }
}

function percent(share: number, digits: number): string {
  return `${(100 * share).toFixed(digits)} %`;
}
