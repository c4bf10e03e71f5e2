import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import { forceShare } from '../sparsity/forced';
import { measureSpeeds, type Speed } from '../sparsity/measure';
import { oracleCeiling, type Ceiling } from '../sparsity/oracle';
import { fixedPrompt } from './measure';

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
