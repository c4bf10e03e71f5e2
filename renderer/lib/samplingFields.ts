import type { Sampling } from '../../electron/contract/entities';

export interface SamplingField {
  key: Exclude<keyof Sampling, 'seed'>;
  label: string;
  hint: string;
  /** What may be typed. */
  min: number;
  max: number;
  step: number;
  /** The part of the range worth sliding through. */
  slideMin: number;
  slideMax: number;
  /** The value that switches it off, if there is one. */
  off?: number;
}

/** The numbers of sampling, in the order a person meets them; ranges as in the contract's schema. */
export const samplingFields: SamplingField[] = [
  {
    key: 'temperature',
    label: 'Temperature',
    hint: 'How freely words are drawn. 0 always takes the likeliest word, around 0.7 is balanced, above 1 gets adventurous.',
    min: 0,
    max: 5,
    step: 0.05,
    slideMin: 0,
    slideMax: 2,
  },
  {
    key: 'topK',
    label: 'Top-k',
    hint: 'Draw only from the k likeliest words. 0 switches this off.',
    min: 0,
    max: 1000,
    step: 1,
    slideMin: 0,
    slideMax: 200,
    off: 0,
  },
  {
    key: 'topP',
    label: 'Top-p',
    hint: 'Draw only from the likeliest words that together reach this probability. 1 switches this off.',
    min: 0,
    max: 1,
    step: 0.01,
    slideMin: 0,
    slideMax: 1,
    off: 1,
  },
  {
    key: 'minP',
    label: 'Min-p',
    hint: 'Leave out words less likely than this share of the likeliest one. 0 switches this off.',
    min: 0,
    max: 1,
    step: 0.01,
    slideMin: 0,
    slideMax: 0.5,
    off: 0,
  },
  {
    key: 'repeatPenalty',
    label: 'Repeat penalty',
    hint: 'Makes recently used words less likely. 1 switches this off; small models profit from 1.1.',
    min: 0.5,
    max: 2,
    step: 0.01,
    slideMin: 1,
    slideMax: 1.5,
    off: 1,
  },
  {
    key: 'repeatLastN',
    label: 'Repeat window',
    hint: 'How many of the last tokens the repeat penalty looks at.',
    min: 0,
    max: 4096,
    step: 1,
    slideMin: 0,
    slideMax: 512,
    off: 0,
  },
  {
    key: 'maxTokens',
    label: 'Max tokens',
    hint: 'The longest reply, in tokens. A token is about three quarters of a word; Continue goes on from there.',
    min: 1,
    max: 131072,
    step: 1,
    slideMin: 16,
    slideMax: 4096,
  },
];

/** A typed number made to fit a field, or null if it is not a number. */
export function fit(field: Pick<SamplingField, 'min' | 'max' | 'step'>, typed: string): number | null {
  const value = Number(typed.trim().replace(',', '.'));
  if (typed.trim() === '' || !Number.isFinite(value)) return null;
  const clamped = Math.min(field.max, Math.max(field.min, value));
  return field.step >= 1 ? Math.round(clamped) : Number(clamped.toFixed(4));
}
