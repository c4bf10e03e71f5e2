import { HunchError } from '../contract/errors';
import { figuresAt, placeAt, placeName, type PlaceFigures } from '../contract/place';
import { stopNames, stopPosition, type FrontierPoint, type StopName } from '../contract/sparsity';
import type { LayerPlan, ModelSpec, Plan } from '../engine/addon';
import type { Pack } from './pack';

export type PackStops = Pack['stops'];

const dense: LayerPlan = { mlp: 'dense', gateThreshold: 0, scoreThreshold: 0, headThreshold: null };
/** The output head as it is. */
export const whole: Plan['vocabulary'] = { bits: 0, margin: 0 };

/** Skips what is zero anyway: the text is dense's to the bit. Worth it only where the activation leaves zeros. */
export function exactPlan(layers: number): Plan {
  return {
    layers: Array.from({ length: layers }, () => ({ ...dense, mlp: 'exact' as const })),
    vocabulary: { ...whole },
  };
}

/** Tokens after which dense correction rewrites them: Sirius finds 16 to 20 enough. */
export const correctEvery = 16;

/** Whether keys and values are dense's: then correction changes nothing. */
export function keepsState({ layers }: Plan): boolean {
  return layers.every(
    ({ mlp, gateThreshold, headThreshold }) =>
      headThreshold === null && (mlp === 'dense' || (mlp === 'exact' && gateThreshold === 0)),
  );
}

/** The same with dense correction. */
export function corrected(plan: Plan): Plan {
  return keepsState(plan) ? plan : { ...plan, correctEvery };
}

/** A pack's stops, and `exact` where the model has true zeros, pack or not. */
export function modelStops(spec: Pick<ModelSpec, 'activation' | 'layers'>, stops: PackStops = {}): PackStops {
  const zeros = spec.activation === 'relu' || spec.activation === 'drelu';
  return zeros && !stops.exact ? { ...stops, exact: exactPlan(spec.layers) } : stops;
}

/** In the slider's order, dense first. */
export function stopList(stops: PackStops): StopName[] {
  return stopNames.filter((name) => name === 'dense' || stops[name] !== undefined);
}

/**
 * The plan at a place of the slider, position 0…1; null = dense. Between two stops, a fraction of the layers (those least sensitive
 * first) runs as at the faster one; the vocabulary changes over half-way. Where a stop is missing, the nearest slower one counts.
 */
export function planAt(
  { stops, sensitivity }: { stops: PackStops; sensitivity?: Pack['sensitivity'] },
  position: number,
  layers: number,
): Plan | null {
  const { from, to, share } = placeAt(position, stopList(stops));
  const slow = from === 'dense' ? null : stops[from]!;
  const fast = to === 'dense' ? null : stops[to]!;
  const count = Math.floor(share * layers + 1e-9); // 0.3 · 10 is 2.999…
  if (from === to || fast === null) return slow;
  const vocabulary = share < 0.5 ? (slow?.vocabulary ?? whole) : fast.vocabulary;
  if (slow === null && count === 0 && vocabulary.bits === 0) return null;
  const order = sensitivity ?? Array.from({ length: layers }, (_, i) => i);
  const moved = new Set(order.slice(0, count));
  return {
    layers: fast.layers.map((layer, i) => (moved.has(i) ? layer : (slow?.layers[i] ?? dense))),
    vocabulary,
    ...(fast.correctEvery ? { correctEvery: fast.correctEvery } : {}),
  };
}

/** What is known of a place: measured at a stop, `interpolated` between two. Null without a frontier that covers it. */
export function pointAt(
  frontier: readonly FrontierPoint[],
  position: number,
): { figures: PlaceFigures; interpolated: boolean } | null {
  const at = figuresAt(
    position,
    frontier.map(({ stop }) => stop),
    frontier,
  );
  return at && { figures: at.figures, interpolated: !at.measured };
}

/** 'balanced', or '62 %' between two stops; `stops`: those the model has. */
export function describe(position: number, stops: readonly StopName[] = stopNames): string {
  return placeName(position, stops);
}

/** The value of `--sparsity`: a stop's name or a number from 0.0 to 1.0. Errors: bad-request. */
export function parseSparsity(text: string): number {
  const value = text.trim().toLowerCase();
  const stop = stopNames.find((name) => name === value);
  if (stop) return stopPosition(stop);
  const position = /^(\d+\.?\d*|\.\d+)$/.test(value) ? Number(value) : NaN;
  if (position >= 0 && position <= 1) return position;
  throw new HunchError(
    'bad-request',
    `"${text}" is no place of the sparsity slider. Give one of ${stopNames.join(', ')}, or a number from 0.0 (dense) to 1.0 (fastest).`,
  );
}
