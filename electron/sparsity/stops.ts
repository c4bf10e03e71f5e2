import { stopLimits, type FrontierPoint, type StopName } from '../contract/sparsity';
import type { Plan } from '../engine/addon';
import type { Speed } from './measure';
import { packStops, type Pack, type PackStop } from './pack';

/** Stops with a limit, slowest first. */
export const limitedStops = packStops.filter((stop) => stopLimits[stop] !== null);

/** A plan that may become a stop: its speed, and its rise of perplexity on the text that it was chosen on. */
export interface Measured {
  plan: Plan;
  speed: Speed;
  rise: number;
}

/** A plan on held-out text. */
export interface Judged {
  /** By kind of text: ratio of perplexities, and its upper bound. */
  kinds: { ratio: number; upper: number }[];
  kl: number;
  agreement: number;
}

export interface Chosen {
  stops: Pack['stops'];
  frontier: FrontierPoint[];
  /** Sentences on stops that have nothing of their own. */
  notes: string[];
}

/**
 * Gives each stop the fastest plan that holds its limit on every kind of held-out text and is faster than the stop before it; a stop
 * without one is as the stop before it, or missing where that is dense. `before`: the stops that have no limit.
 */
export async function chooseStops(
  candidates: readonly Measured[],
  before: Pick<Chosen, 'stops' | 'frontier'>,
  judge: (candidate: Measured, stop: PackStop) => Promise<Judged>,
): Promise<Chosen> {
  const chosen: Chosen = { stops: { ...before.stops }, frontier: [...before.frontier], notes: [] };
  const fastest = [...candidates].sort((a, b) => b.speed.speedup - a.speed.speedup);
  for (const stop of limitedStops) {
    const limit = stopLimits[stop]!;
    const last = chosen.frontier[chosen.frontier.length - 1]!;
    let missed = false;
    let found = false;
    for (const candidate of fastest) {
      if (candidate.speed.speedup <= last.speedup) break;
      if (!(candidate.rise <= limit)) continue;
      const judged = await judge(candidate, stop);
      found = judged.kinds.every(({ upper }) => upper - 1 <= limit);
      if (found) {
        const ratio = Math.max(...judged.kinds.map((kind) => kind.ratio));
        chosen.stops[stop] = candidate.plan;
        chosen.frontier.push(pointOf(stop, candidate.speed, { ...judged, ratio }));
        break;
      }
      missed = true;
    }
    if (found) continue;
    const why = missed ? 'what was faster missed its limit on held-out text' : 'nothing faster was found';
    if (last.stop === 'dense') chosen.notes.push(`There is no stop ${stop}: ${why}.`);
    else {
      chosen.notes.push(`${stop} runs as ${last.stop}: ${why}.`);
      chosen.stops[stop] = chosen.stops[last.stop as PackStop]!;
      chosen.frontier.push({ ...last, stop });
    }
  }
  return chosen;
}

/** A point of the frontier. Ratio: of the kind of text that suffers most. */
export function pointOf(
  stop: StopName,
  { tokensPerSecond, speedup, density, bytesPerToken }: Speed,
  { ratio, kl, agreement }: { ratio: number; kl: number; agreement: number },
): FrontierPoint {
  return {
    ...{ stop, tokensPerSecond, speedup },
    perplexityRatio: ratio,
    kl: Math.max(0, kl),
    ...{ agreement, density: Math.min(1, density), bytesPerToken },
  };
}
