import type { SparsityState } from '../contract/sparsity';
import { describe, modelStops, planAt, stopList } from '../sparsity/position';
import type { Pack } from '../sparsity/pack';
import type { ModelSpec, Plan, Predictors } from './addon';

/** What a source knows of its model. */
export type SourceState = Pick<SparsityState, 'stops' | 'frontier' | 'measured' | 'problem'>;

/** Where the places of a model's slider come from. */
export interface SparsitySource {
  /** Ready to run; null = dense. Position: 0…1. */
  plan(position: number): Plan | null;
  /** As a reply's provenance names the place: 'balanced', '62 %'. */
  describe(position: number): string;
  state(): SourceState;
  /** What its plans read; null where they need none. */
  readonly predictors: Predictors | null;
}

/** What plans and their figures come from: a pack, or a model's own file. */
export interface PlanSource {
  info: Pick<Pack, 'stops' | 'frontier' | 'sensitivity' | 'measured'>;
  predictors: Predictors | null;
}

/** From the pack beside the model; without one, dense and (where the activation leaves true zeros) exact. */
export function modelSource(
  spec: Pick<ModelSpec, 'activation' | 'layers'>,
  pack: PlanSource | null,
  problem: string | null = null,
): SparsitySource {
  const stops = modelStops(spec, pack?.info.stops);
  const names = stopList(stops);
  const frontier = pack?.info.frontier.filter(({ stop }) => names.includes(stop)) ?? [];
  const { date, machine, text, tokens } = pack?.info.measured ?? {};
  const measured =
    date !== undefined && machine !== undefined && text !== undefined && tokens !== undefined
      ? { date, machine, text, tokens }
      : null;
  return {
    predictors: pack?.predictors ?? null,
    plan: (position) => planAt({ stops, sensitivity: pack?.info.sensitivity }, position, spec.layers),
    describe: (position) => describe(position, names),
    state: () => ({ stops: names, frontier, measured, problem }),
  };
}
