import { figuresAt, placeAt, placeName } from '../../electron/contract/place';
import type { CalibrationPhase, Sparsity, SparsityState, StopName } from '../../electron/contract/sparsity';
import { stopAt, stopLimits } from '../../electron/contract/sparsity';

/** The part of the state that says what a place means. */
export type Stops = Pick<SparsityState, 'stops' | 'frontier' | 'measured'>;

export const phaseNames: Record<CalibrationPhase, string> = {
  capture: 'Collecting activations',
  thresholds: 'Finding thresholds',
  training: 'Training predictors',
  audit: 'Checking against dense',
  measuring: 'Measuring speed and quality',
};

/** '+0.8 %', '0 %', '−0.1 %': perplexity against dense. */
export function formatRise(perplexityRatio: number): string {
  const percent = (perplexityRatio - 1) * 100;
  const text = Math.abs(percent) < 9.95 ? Math.abs(percent).toFixed(1) : Math.abs(percent).toFixed(0);
  if (Number(text) === 0) return '0 %';
  return `${percent > 0 ? '+' : '−'}${text} %`;
}

/** '1.62×': speed against dense. */
export const formatSpeedup = (speedup: number): string => `${speedup.toFixed(2)}×`;

/** '97.1 %': a share with the digits that tell stops apart. */
export function formatShare(fraction: number): string {
  const percent = fraction * 100;
  return `${percent === 100 ? '100' : percent.toFixed(1)} %`;
}

/** Two digits that count, never an exponent. */
export function formatKl(nats: number): string {
  if (nats === 0) return '0';
  if (nats < 0.00005) return '< 0.0001';
  return nats.toFixed(Math.min(4, Math.max(1, 1 - Math.floor(Math.log10(nats)))));
}

/** Why the model lacks a stop. */
export function missingReason(stop: StopName, { measured }: Stops): string {
  if (stop === 'exact') return 'This model has no exact stop: its skipped neurons would not be exactly zero.';
  if (!measured) return `Whether this model can run ${stop} is known once it is measured.`;
  const limit = stopLimits[stop];
  return `This model has no ${stop} stop: nothing faster stayed within ${limit === null ? 0 : limit * 100} % more perplexity.`;
}

/** The place in full, as a screen reader says it: 'balanced: 1.6 times dense speed, 0.8 % more perplexity'. */
export function placeSentence(position: number, state: Stops): string {
  const stop = stopAt(position);
  const name = placeName(position, state.stops);
  const lead = stop && stop !== name ? `${stop}, which this model runs as ${name}` : name;
  const found = figuresAt(position, state.stops, state.frontier);
  if (!found) return name === 'dense' ? `${lead}: everything is computed` : `${lead}: not measured yet`;
  const { figures, measured } = found;
  const about = measured ? '' : 'about ';
  return `${lead}: ${about}${figures.speedup.toFixed(1)} times dense speed, ${about}${riseWords(figures.perplexityRatio)}`;
}

/** What dense correction does at a place; null: nobody measured it there. */
export function correctionSentence(position: number, { stops, frontier }: Stops): string | null {
  const { to } = placeAt(position, stops);
  const point = frontier.find(({ stop }) => stop === to);
  if (to === 'dense' || to === 'exact') return 'Idle: nothing is lost here.';
  if (!point) return null;
  if (!point.corrected) return 'Idle: the keys and values are dense here anyway.';
  const { speedup, perplexityRatio } = point.corrected;
  return (
    `At ${to}: ${formatSpeedup(speedup)} dense instead of ${formatSpeedup(point.speedup)}, ` +
    `perplexity ${formatRise(perplexityRatio)} instead of ${formatRise(point.perplexityRatio)}.`
  );
}

function riseWords(perplexityRatio: number): string {
  const rise = formatRise(perplexityRatio);
  if (rise === '0 %') return 'no more perplexity';
  return `${rise.slice(1)} ${rise.startsWith('+') ? 'more' : 'less'} perplexity`;
}

/** In the composer's foot: 'balanced', '1.62×'; no figure without a measurement. */
export function placeSummary({ position }: Sparsity, state: Stops): { name: string; speed: string | null } {
  const found = figuresAt(position, state.stops, state.frontier);
  const name = placeName(position, state.stops);
  if (!found || name === 'dense') return { name, speed: null };
  return { name, speed: `${found.measured ? '' : '≈'}${formatSpeedup(found.figures.speedup)}` };
}

/** What the eye sees at a stop that the model lacks: the thumb at one name, the chat at another. */
export function substituteNote(position: number, { stops }: Stops): string | null {
  const stop = stopAt(position);
  const name = placeName(position, stops);
  return stop === null || stop === name ? null : `This model has no ${stop} stop, so it runs as ${name}.`;
}

/** Between which stops an estimate lies; null at a stop. */
export function estimateNote(position: number, { stops }: Stops): string | null {
  const { from, to, share } = placeAt(position, stops);
  return share === 0 ? null : `Estimated (≈) between ${from} and ${to}.`;
}
