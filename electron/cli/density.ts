import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import { forceShare } from '../sparsity/forced';
import { ForcedNames, overlapOf } from '../sparsity/forcedNames';
import { measureSpeeds, type Speed } from '../sparsity/measure';
import { oracleCeiling, type Ceiling } from '../sparsity/oracle';
import { fixedPrompt, spread, type Spread } from './measure';
import { residencyOf, type ResidencyFigures } from './open';

export interface ForcedFigures {
  dense: Speed;
  sparse: Speed;
  oracle: Ceiling;
  /** Share of the heads that were computed. */
  headShare: number;
}

/**
 * Random weights leave nothing out by themselves. Times dense steps and, in turns, steps of which every layer computes about `density`
 * of its neurons: those that random predictors name and whose gate is open. A random gate is open half of the time, so twice as many
 * are named. `heads`: the share of the heads that random predictors keep, too.
 */
export async function forcedDensity(
  runtime: Runtime,
  { density, heads }: { density: number; heads?: number | undefined },
  { tg, depth, repetitions }: { tg: number; depth: number; repetitions: number },
  onProgress: (what: string) => void,
): Promise<ForcedFigures> {
  const { spec, model, vocabularySize } = runtime;
  const session = runtime.openSession(Math.max(16, depth + tg));
  try {
    const wanted = {
      ...({ share: density, of: 'computed', rank: 64, later: 'previous' } as const),
      ...(heads === undefined ? {} : { heads }),
    };
    const plan = await forceShare(model, session, spec, wanted, (done, tries) =>
      onProgress(`thresholds: ${done}/${tries}`),
    );
    const [dense, sparse] = await measureSpeeds(session, [null, plan], {
      ...{ text: fixedPrompt(depth + tg * repetitions, vocabularySize), steps: tg, depth, rounds: repetitions },
      neurons: spec.ffnWidth,
      onRound: (round) => onProgress(`density ${density}: ${round}/${repetitions}`),
    });
    const headShare = sparse!.headsPerLayer / spec.heads;
    const oracle = oracleCeiling(spec, dense!, { density: sparse!.density, headShare }, dense!);
    return { dense: dense!, sparse: sparse!, oracle, headShare };
  } catch (error) {
    throw fromNative(error);
  } finally {
    session.close();
  }
}

export interface DiskFigures extends ResidencyFigures {
  tokensPerSecond: Spread;
  /** Shares of the neurons computed, and named before. */
  density: number;
  named: number;
  /** Of a token's names, the share that the token before named, too. */
  overlap: number;
  bytesPerToken: number;
}

/** Of the real ReLU starter: with the token before. */
const textOverlap = 0.45;

/**
 * Steps of a model that is partly on disk, and what was read for them: `density` is the share of the neurons that are named, and so read. Names
 * of one token come back in the next as they do in a text; random weights alone name nearly the same neurons again and again.
 */
export async function forcedFromDisk(
  runtime: Runtime,
  density: number,
  { tg, repetitions }: { tg: number; repetitions: number },
  onProgress: (what: string) => void,
): Promise<DiskFigures> {
  const { spec, model, vocabularySize } = runtime;
  const session = runtime.openSession(Math.max(16, tg));
  try {
    const names = new ForcedNames(spec, { share: density, overlap: textOverlap });
    const text = fixedPrompt(tg, vocabularySize);
    const rates: number[] = [];
    const overlaps: number[] = [];
    let before = names.next();
    session.setPlan(names.plan);
    for (let run = 0; run <= repetitions; run++) {
      onProgress(`density ${density}: ${run}/${repetitions}`);
      let total = 0;
      for (let token = 0; token < tg; token++) {
        const now = names.next();
        if (run > 0 && token < 4) overlaps.push(overlapOf(names.plan, now, before));
        before = now;
        await model.setPredictors({ mlp: now, heads: [] });
        total += (await session.bench(0, 1, token, text)).decodeMs;
      }
      if (run > 0) rates.push((tg / total) * 1000);
      if (run > 0) continue; // the first one fills the memory
      session.activity();
      model.residency();
    }
    const { tokens, computed, named, bytes } = session.activity();
    const share = (counts: Float64Array): number =>
      counts.reduce((sum, count) => sum + count, 0) / tokens / spec.layers / spec.ffnWidth;
    return {
      ...{ tokensPerSecond: spread(rates), density: share(computed), named: share(named) },
      ...{ overlap: spread(overlaps).mean, bytesPerToken: bytes / tokens },
      ...residencyOf(runtime, tokens),
    };
  } catch (error) {
    throw fromNative(error);
  } finally {
    session.close();
  }
}
