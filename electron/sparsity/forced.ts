import { whole } from './position';
import type { LowRankPredictor, ModelSpec, NativeModel, NativeSession, Plan } from '../engine/addon';

/** Decode steps of a try, and tries: what is left is 2^-14 of the range. */
const steps = 6;
const tries = 14;

export interface ForcedShare {
  share: number;
  of: 'named' | 'computed';
  rank: number;
  later: Exclude<LowRankPredictor['source'], 'same'>;
  /** Share of the heads that each layer computes; absent = all. */
  heads?: number;
}

/**
 * Gives a model random predictors and finds thresholds at which each layer names, or computes, this share of its neurons: what that
 * would cost, whoever chose them. The text it writes so is nonsense. `session` needs 16 tokens of context.
 */
export async function forceShare(
  model: NativeModel,
  session: NativeSession,
  spec: Pick<ModelSpec, 'layers' | 'width' | 'ffnWidth' | 'heads'>,
  { share, of, rank, later, heads }: ForcedShare,
  onTry: (done: number, tries: number) => void = () => {},
): Promise<Plan> {
  const random = normals();
  // Scores of normalised inputs get a deviation of about 1.
  const predictor = (layer: number, source: LowRankPredictor['source'], rows: number): LowRankPredictor => {
    const a = random(1 / Math.sqrt(spec.width), rank * spec.width);
    const b = random(1 / Math.sqrt(rank), rows * rank);
    return { source: layer === 0 ? 'attention' : source, rank, relu: false, a, b, bias: null };
  };
  const layers = Array.from({ length: spec.layers }, (_, layer) => layer);
  session.setPlan(null);
  await model.setPredictors({
    mlp: layers.map((layer) => predictor(layer, later, spec.ffnWidth)),
    heads: layers.map((layer) => (heads === undefined ? null : predictor(layer, 'previous', spec.heads))),
  });
  const middle = ([low, high]: [number, number]): number => (low + high) / 2;
  const ranges = layers.map((): [number, number] => [-8, 8]);
  const headRanges = layers.map((): [number, number] => [-8, 8]);
  const planOf = (): Plan => ({
    layers: ranges.map((range, layer) => ({
      ...{ mlp: 'predicted', gateThreshold: 0 },
      headThreshold: heads === undefined ? null : middle(headRanges[layer]!),
      scoreThreshold: middle(range),
    })),
    vocabulary: whole,
  });
  // All layers are bisected at once.
  for (let attempt = 0; attempt < tries; attempt++) {
    session.setPlan(planOf());
    session.activity();
    await session.bench(0, steps);
    const { tokens, ...activity } = session.activity();
    ranges.forEach((range, layer) => {
      range[activity[of][layer]! / tokens / spec.ffnWidth > share ? 0 : 1] = middle(range);
    });
    headRanges.forEach((range, layer) => {
      if (heads !== undefined) range[activity.heads[layer]! / tokens / spec.heads > heads ? 0 : 1] = middle(range);
    });
    onTry(attempt + 1, tries);
  }
  return planOf();
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
