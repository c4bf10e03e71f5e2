import type { LowRankPredictor, ModelSpec, NativeModel, NativeSession, Plan } from '../engine/addon';

/** Decode steps of a try, and tries: what is left is 2^-14 of the range. */
const steps = 6;
const tries = 14;

/**
 * Gives a model random predictors and finds thresholds at which each layer names, or computes, this share of its neurons: what that
 * would cost, whoever chose them. The text it writes so is nonsense. `session` needs 16 tokens of context.
 */
export async function forceShare(
  model: NativeModel,
  session: NativeSession,
  spec: Pick<ModelSpec, 'layers' | 'width' | 'ffnWidth'>,
  {
    share,
    of,
    rank,
    later,
  }: { share: number; of: 'named' | 'computed'; rank: number; later: Exclude<LowRankPredictor['source'], 'same'> },
  onTry: (done: number, tries: number) => void = () => {},
): Promise<Plan> {
  const random = normals();
  // Scores of normalised inputs get a deviation of about 1.
  const mlp = Array.from({ length: spec.layers }, (_, layer): LowRankPredictor => {
    const source = layer === 0 ? 'attention' : later;
    const a = random(1 / Math.sqrt(spec.width), rank * spec.width);
    return { source, rank, relu: false, a, b: random(1 / Math.sqrt(rank), spec.ffnWidth * rank), bias: null };
  });
  session.setPlan(null);
  await model.setPredictors({ mlp, heads: mlp.map(() => null) });
  const ranges = mlp.map((): [number, number] => [-8, 8]);
  const planOf = (): Plan => ({
    layers: ranges.map(([low, high]) => ({
      ...{ mlp: 'predicted', gateThreshold: 0, headThreshold: null },
      scoreThreshold: (low + high) / 2,
    })),
    vocabulary: { bits: 0, margin: 0 },
  });
  // All layers are bisected at once.
  for (let attempt = 0; attempt < tries; attempt++) {
    session.setPlan(planOf());
    session.activity();
    await session.bench(0, steps);
    const { tokens, ...activity } = session.activity();
    ranges.forEach((range, layer) => {
      range[activity[of][layer]! / tokens / spec.ffnWidth > share ? 0 : 1] = (range[0] + range[1]) / 2;
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
