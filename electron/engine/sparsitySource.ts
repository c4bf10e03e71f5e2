import { placeAt, placeName } from '../contract/place';
import type { SparsityState, StopName } from '../contract/sparsity';
import type { LayerPlan, ModelSpec, Plan, Predictors } from './addon';

/** What a source knows of its model. */
export type SourceState = Pick<SparsityState, 'stops' | 'frontier' | 'measured' | 'problem'>;

/** Where the places of a model's slider come from: the pack beside it, or the model alone (`bareSource`). */
export interface SparsitySource {
  /** Ready to run; null = dense. Position: 0…1. */
  plan(position: number): Plan | null;
  /** As a reply's provenance names the place: 'balanced', '62 %'. */
  describe(position: number): string;
  state(): SourceState;
  /** What its plans read; null where they need none. */
  readonly predictors: Predictors | null;
}

const dense: LayerPlan = { mlp: 'dense', gateThreshold: 0, scoreThreshold: 0, headThreshold: null };
const exact: LayerPlan = { ...dense, mlp: 'exact' };

/** A model without a pack: dense, and exact where its activation leaves true zeros. */
export function bareSource(
  { activation, layers }: Pick<ModelSpec, 'activation' | 'layers'>,
  problem: string | null = null,
): SparsitySource {
  const zeros = activation === 'relu' || activation === 'drelu';
  const stops: StopName[] = zeros ? ['dense', 'exact'] : ['dense'];
  return {
    predictors: null,
    plan(position) {
      const { from, to, share } = placeAt(position, stops);
      if (to === 'dense') return null;
      const count = from === to ? layers : Math.round(share * layers);
      return {
        layers: Array.from({ length: layers }, (_, i) => (i < count ? exact : dense)),
        vocabulary: { bits: 0, margin: 0 },
      };
    },
    describe: (position) => placeName(position, stops),
    state: () => ({ stops, frontier: [], measured: null, problem }),
  };
}
