import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import { forceShare } from '../sparsity/forced';
import { measureSpeeds, type Speed } from '../sparsity/measure';
import { oracleCeiling, type Ceiling } from '../sparsity/oracle';
import { fixedPrompt, stepRates, type Spread } from './measure';
import { residencyOf } from './open';

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

export interface DiskFigures extends Record<string, unknown> {
  tokensPerSecond: Spread;
  /** Shares of the neurons computed, and named before. */
  density: number;
  named: number;
}

/**
 * Steps with the same predictors of a model that is partly on disk, without dense steps between them, which would turn over what is kept in
 * memory; and what was read for them.
 */
export async function forcedFromDisk(
  runtime: Runtime,
  density: number,
  { tg, repetitions }: { tg: number; repetitions: number },
  onProgress: (what: string) => void,
): Promise<DiskFigures> {
  const { spec, model } = runtime;
  const session = runtime.openSession(Math.max(16, tg));
  try {
    const wanted = { share: density, of: 'computed', rank: 64, later: 'previous' } as const;
    const plan = await forceShare(model, session, spec, wanted, (done, tries) =>
      onProgress(`thresholds: ${done}/${tries}`),
    );
    session.setPlan(plan);
    await session.bench(0, tg); // fills the memory
    session.activity();
    model.residency();
    const tokensPerSecond = await stepRates(session, { prompt: 0, decode: tg, depth: 0 }, repetitions, (run) =>
      onProgress(`density ${density}: ${run}/${repetitions}`),
    );
    const { tokens, computed, named, bytes } = session.activity();
    const share = (counts: Float64Array): number =>
      counts.reduce((sum, count) => sum + count, 0) / tokens / spec.layers / spec.ffnWidth;
    return {
      ...{ tokensPerSecond, density: share(computed), named: share(named), bytesPerToken: bytes / tokens },
      ...residencyOf(runtime, tokens),
    };
  } catch (error) {
    throw fromNative(error);
  } finally {
    session.close();
  }
}
