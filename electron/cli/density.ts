import type { LowRankPredictor, NativeSession, Plan } from '../engine/addon';
import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import { measureSpeeds, type Speed } from '../sparsity/measure';
import { oracleCeiling, type Ceiling } from '../sparsity/oracle';
import { fixedPrompt } from './measure';

/** Random weights leave nothing out by themselves; this makes them skip as much as a real sparse model would. */
export interface ForcedFigures {
  dense: Speed;
  sparse: Speed;
  oracle: Ceiling;
}

const rank = 64;
const searchSteps = 6; // decode steps of a try
const tries = 14;

/**
 * Times dense steps and, in turns, steps of which every layer computes about `density` of its neurons: those that random low-rank
 * predictors name and whose gate is open. A random gate is open half of the time, so twice as many are named.
 */
export async function forcedDensity(
  runtime: Runtime,
  density: number,
  { tg, depth, repetitions }: { tg: number; depth: number; repetitions: number },
  onProgress: (what: string) => void,
): Promise<ForcedFigures> {
  const { spec, model, vocabularySize } = runtime;
  const session = runtime.openSession(Math.max(16, depth + Math.max(tg, searchSteps)));
  try {
    const random = normals();
    const predictors = Array.from({ length: spec.layers }, (_, layer) =>
      randomPredictor(spec.width, spec.ffnWidth, layer === 0 ? 'attention' : 'previous', random),
    );
    await model.setPredictors({ mlp: predictors, heads: predictors.map(() => null) });
    const plan = await findThresholds(session, spec, density, (done) => onProgress(`thresholds: ${done}/${tries}`));
    const [dense, sparse] = await measureSpeeds(session, [null, plan], {
      ...{ text: fixedPrompt(depth + tg * repetitions, vocabularySize), steps: tg, depth, rounds: repetitions },
      neurons: spec.ffnWidth,
      onRound: (round) => onProgress(`density ${density}: ${round}/${repetitions}`),
    });
    return { dense: dense!, sparse: sparse!, oracle: oracleCeiling(spec, dense!, sparse!, dense!) };
  } catch (error) {
    throw fromNative(error);
  } finally {
    session.close();
  }
}

/** Bisects the score threshold of all layers at once, by what the layers compute. */
async function findThresholds(
  session: NativeSession,
  { layers, ffnWidth }: { layers: number; ffnWidth: number },
  density: number,
  onTry: (done: number) => void,
): Promise<Plan> {
  const ranges = Array.from({ length: layers }, (): [number, number] => [-8, 8]);
  const planOf = (): Plan => ({
    layers: ranges.map(([low, high]) => ({
      ...{ mlp: 'predicted', gateThreshold: 0, headThreshold: null },
      scoreThreshold: (low + high) / 2,
    })),
    vocabulary: { bits: 0, margin: 0 },
  });
  for (let attempt = 0; attempt < tries; attempt++) {
    session.setPlan(planOf());
    session.activity();
    await session.bench(0, searchSteps);
    const { computed, tokens } = session.activity();
    ranges.forEach((range, layer) => {
      const middle = (range[0] + range[1]) / 2;
      range[computed[layer]! / tokens / ffnWidth > density ? 0 : 1] = middle;
    });
    onTry(attempt + 1);
  }
  return planOf();
}

/** Scores of normalised inputs have a deviation of about 1. */
function randomPredictor(
  width: number,
  neurons: number,
  source: LowRankPredictor['source'],
  random: (deviation: number, length: number) => Float32Array,
): LowRankPredictor {
  const a = random(1 / Math.sqrt(width), rank * width);
  return { source, rank, relu: false, a, b: random(1 / Math.sqrt(rank), neurons * rank), bias: null };
}

/** Sums of four uniform numbers are close enough to normal; the same ones every time. */
function normals(): (deviation: number, length: number) => Float32Array {
  let state = 0x2545f491;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  return (deviation, length) => {
    const scale = deviation * Math.sqrt(3);
    return Float32Array.from({ length }, () => scale * (uniform() + uniform() + uniform() + uniform()));
  };
}
