import { headFlag, neuronState, type FrameLayer } from '../../electron/contract/frames';

/** Codes of a cell. Those up to `firstLevel` are states; the rest are `levels` steps of a colour scale. */
export const state = {
  /** Nothing there: beyond the last neuron, or no frame. */
  none: 0,
  /** Not computed: its value is not known. */
  skipped: 1,
  /** Named by the predictor, not active. */
  namedIdle: 2,
  namedActive: 3,
  /** Computed without being named (a dense or exact layer), not active. */
  plainIdle: 4,
  plainActive: 5,
  /** Audit tokens only: would have been active, was not computed. */
  missed: 6,
  /** Its gate was read and was closed; up and down were not read. */
  shut: 7,
} as const;

export const stateCount = 8;
export const firstLevel = 16;
export const levels = 240;

/** In words, for legends and read-outs. */
export const stateWords: Record<number, string> = {
  [state.none]: 'not applicable',
  [state.skipped]: 'not computed, so unknown',
  [state.namedIdle]: 'predicted, inactive',
  [state.namedActive]: 'predicted, active',
  [state.plainIdle]: 'computed without prediction, inactive',
  [state.plainActive]: 'computed without prediction, active',
  [state.missed]: 'missed: it would have been active',
  [state.shut]: 'gate read and closed',
};

/** Can this layer miss a neuron that would have been active? Then an audit token knows whether it did. */
export const canMiss = ({
  route,
  names,
  gateThreshold,
}: Pick<FrameLayer, 'route' | 'names' | 'gateThreshold'>): boolean => names || (route === 'exact' && gateThreshold > 0);

/** `bits`: of `neuronState`. */
export function neuronCode(bits: number, { route }: Pick<FrameLayer, 'route'>): number {
  if (bits & neuronState.missed) return state.missed;
  if (bits & neuronState.named) return bits & neuronState.active ? state.namedActive : state.namedIdle;
  if (bits & neuronState.computed) return bits & neuronState.active ? state.plainActive : state.plainIdle;
  return route === 'exact' ? state.shut : state.skipped;
}

/** The most noteworthy state within a block. */
export function blockCode(
  counts: { named: number; computed: number; active: number; missed: number },
  { route }: Pick<FrameLayer, 'route'>,
): number {
  if (counts.missed > 0) return state.missed;
  const named = counts.named > 0;
  if (counts.active > 0) return named ? state.namedActive : state.plainActive;
  if (named) return state.namedIdle;
  if (counts.computed > 0) return state.plainIdle;
  return route === 'exact' ? state.shut : state.skipped;
}

/** `flags`: of `headFlag`. A computed head counts as active. */
export function headCode(flags: number): number {
  if (!(flags & headFlag.computed)) return flags & headFlag.named ? state.namedIdle : state.skipped;
  return flags & headFlag.named ? state.namedActive : state.plainActive;
}

/** 0 … 1 to a code of the colour scale. */
export const level = (share: number): number => firstLevel + Math.round(Math.min(1, Math.max(0, share)) * (levels - 1));

/** −1 … 1 to a code of the diverging scale, 0 in its middle. */
export const signedLevel = (share: number): number => level((Math.min(1, Math.max(-1, share)) + 1) / 2);
