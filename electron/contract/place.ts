import { stopAt, stopNames, type FrontierPoint, type StopName } from './sparsity';

/** What a place of the slider is for one model: between these two of its stops. */
export interface Place {
  from: StopName;
  to: StopName;
  /** 0…1: the part of the layers that runs as at `to`. */
  share: number;
}

/** A stop that the model lacks is as the nearest one before it that it has. */
export function nearestStop(stop: StopName, stops: readonly StopName[]): StopName {
  const before = stopNames.slice(0, stopNames.indexOf(stop) + 1).filter((name) => stops.includes(name));
  return before[before.length - 1] ?? 'dense';
}

/** Position: 0…1. */
export function placeAt(position: number, stops: readonly StopName[]): Place {
  const last = stopNames.length - 1;
  const exact = stopAt(position);
  const index = exact ? stopNames.indexOf(exact) : Math.min(last, Math.max(0, Math.floor(position * last)));
  const from = nearestStop(stopNames[index]!, stops);
  const to = nearestStop(stopNames[Math.min(last, index + 1)]!, stops);
  const share = exact || from === to ? 0 : position * last - index;
  return { from, to: share === 0 ? from : to, share };
}

/** 'balanced', or '62 %' between two stops that differ. */
export function placeName(position: number, stops: readonly StopName[]): string {
  const { from, share } = placeAt(position, stops);
  return share === 0 ? from : `${Math.round(position * 100)} %`;
}

/** Figures of a place. */
export type PlaceFigures = Omit<FrontierPoint, 'stop'>;

/**
 * What was measured at this place, or (`measured: false`) an estimate between the two stops around it: times and bytes of a token
 * add up over the layers, so they are mixed by share. Null where one of the stops was not measured.
 */
export function figuresAt(
  position: number,
  stops: readonly StopName[],
  frontier: readonly FrontierPoint[],
): { figures: PlaceFigures; measured: boolean } | null {
  const { from, to, share } = placeAt(position, stops);
  const a = frontier.find((point) => point.stop === from);
  const b = frontier.find((point) => point.stop === to);
  if (!a || !b) return null;
  if (share === 0) return { figures: a, measured: true };
  const mix = (x: number, y: number): number => x + (y - x) * share;
  const mixRate = (x: number, y: number): number => 1 / mix(1 / x, 1 / y);
  return {
    figures: {
      tokensPerSecond: mixRate(a.tokensPerSecond, b.tokensPerSecond),
      speedup: mixRate(a.speedup, b.speedup),
      perplexityRatio: mix(a.perplexityRatio, b.perplexityRatio),
      kl: mix(a.kl, b.kl),
      agreement: mix(a.agreement, b.agreement),
      density: mix(a.density, b.density),
      bytesPerToken: mix(a.bytesPerToken, b.bytesPerToken),
    },
    measured: false,
  };
}
