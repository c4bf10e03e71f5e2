import type { LowRankPredictor, ModelSpec, Plan } from '../engine/addon';
import { whole } from './position';

/** How often neurons are named: `share` of them by each token, `overlap` of those by the token before, too. */
export interface NameStatistics {
  share: number;
  overlap: number;
}

/**
 * Predictors that name neurons at random, but as a model's text does: a part of each neuron's score stays from token to token, so some are named
 * often, the rest is drawn anew. `next` gives a token's predictors; their factors are zero, the names are in the bias, the cost is a predictor's.
 */
export class ForcedNames {
  readonly plan: Plan;
  private readonly lasting: Float32Array[];
  private readonly kept: number;
  private readonly random = normals();

  constructor(
    private readonly spec: Pick<ModelSpec, 'layers' | 'width' | 'ffnWidth'>,
    { share, overlap }: NameStatistics,
    private readonly rank = 32,
  ) {
    const threshold = thresholdOf(share);
    this.kept = keptPart(threshold, share, overlap);
    this.lasting = Array.from({ length: spec.layers }, () =>
      Float32Array.from({ length: spec.ffnWidth }, () => Math.sqrt(this.kept) * this.random()),
    );
    const layer = { mlp: 'predicted' as const, gateThreshold: 0, scoreThreshold: threshold, headThreshold: null };
    this.plan = { layers: Array.from({ length: spec.layers }, () => layer), vocabulary: whole };
  }

  next(): LowRankPredictor[] {
    const { rank, spec } = this;
    const zeros = { a: new Float32Array(rank * spec.width), b: new Float32Array(rank * spec.ffnWidth) };
    return this.lasting.map((lasting, layer) => ({
      ...{ source: layer === 0 ? ('attention' as const) : ('previous' as const), rank, relu: false, ...zeros },
      bias: lasting.map((value) => value + Math.sqrt(1 - this.kept) * this.random()),
    }));
  }
}

const samples = 40_000;

/** What a share of normally distributed numbers exceeds. */
function thresholdOf(share: number): number {
  const random = normals();
  const sorted = Float64Array.from({ length: samples }, random).sort();
  return sorted[Math.floor((1 - share) * samples)]!;
}

/** Variance that two tokens' scores share when this part of the one's names are the other's, too. */
function keptPart(threshold: number, share: number, overlap: number): number {
  let [low, high] = [0, 1];
  for (let step = 0; step < 12; step++) {
    const kept = (low + high) / 2;
    const random = normals();
    let both = 0;
    for (let sample = 0; sample < samples; sample++) {
      const lasting = Math.sqrt(kept) * random();
      const [one, other] = [random(), random()].map((fresh) => lasting + Math.sqrt(1 - kept) * fresh);
      if (one! > threshold && other! > threshold) both++;
    }
    if (both / samples / share > overlap) high = kept;
    else low = kept;
  }
  return (low + high) / 2;
}

/** The same ones every time (mulberry32, Box and Muller). */
function normals(): () => number {
  let state = 0x2545f491;
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Of the first predictors' names, the share that the second ones name, too. */
export function overlapOf(plan: Plan, one: readonly LowRankPredictor[], other: readonly LowRankPredictor[]): number {
  let [named, both] = [0, 0];
  one.forEach(({ bias }, layer) => {
    const { scoreThreshold } = plan.layers[layer]!;
    bias!.forEach((score, neuron) => {
      if (score <= scoreThreshold) return;
      named++;
      if (other[layer]!.bias![neuron]! > scoreThreshold) both++;
    });
  });
  return both / named;
}
