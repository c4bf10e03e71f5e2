import { headFlag, neuronState, stateOf, type RecordFrame, type SummaryFrame } from '../../electron/contract/frames';
import { formatBytes, formatCount } from '../lib/format';
import { blockLength } from './cells';
import type { Source } from './source';
import { canMiss, neuronCode, stateWords } from './states';

/** A token as one sees it: spaces, line ends and what has no shape made visible. */
export function tokenWords(text: string): string {
  if (text === '') return '∅';
  return text
    .replace(/\n/g, '⏎')
    .replace(/\t/g, '⇥')
    .replace(/ /g, '␣')
    .replace(
      /[\u0000-\u001f\u007f-\u00a0\u00ad\u200b-\u200f\u2028-\u202f\u2060-\u2064\ufeff]/g,
      (character) => `‹${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}›`,
    );
}

/** Digits that count, with a real minus. */
export function formatValue(value: number): string {
  if (Number.isNaN(value)) return 'unknown';
  if (value === 0) return '0';
  const size = Math.abs(value);
  const text = size >= 1000 || size < 0.001 ? value.toExponential(2) : String(Number(value.toPrecision(3)));
  return text.replace('-', '−');
}

export const formatShare = (share: number): string =>
  `${(share * 100).toFixed(share >= 0.0995 || share === 0 ? 0 : 1)} %`;

/** 'Layer 3, neurons 64–79: 5 predicted, 5 computed, 2 active, peak 1.2.' */
export function blockWords(frame: SummaryFrame, layer: number, block: number): string {
  const at = layer * frame.blocks + block;
  const size = blockLength(frame, block);
  const first = block * frame.blockSize;
  const place = `Layer ${layer}, neurons ${first} to ${first + size - 1}`;
  const about = frame.layers[layer]!;
  const { route, names } = about;
  const parts = [
    ...(names ? [`${frame.named[at]} predicted`] : [`${route} route`]),
    `${frame.computed[at]} of ${size} computed`,
    `${frame.active[at]} active`,
    ...(frame.missed && canMiss(about) ? [`${frame.missed[at]} missed`] : []),
    frame.computed[at]! > 0 ? `peak ${formatValue(frame.peak[at]!)}` : 'values not known',
  ];
  return `${place}: ${parts.join(', ')}.`;
}

export function headWords(
  frame: Pick<SummaryFrame, 'heads' | 'headFlags' | 'headNorms' | 'layers'>,
  layer: number,
  head: number,
): string {
  const at = layer * frame.heads + head;
  const flags = frame.headFlags[at]!;
  const named = frame.layers[layer]!.headsPredicted ? (flags & headFlag.named ? 'predicted, ' : 'not predicted, ') : '';
  const rest = flags & headFlag.computed ? `computed, norm ${formatValue(frame.headNorms[at]!)}` : 'not computed';
  return `Layer ${layer}, head ${head}: ${named}${rest}.`;
}

/** `value`: h of the neuron, NaN where it is not known. */
export function neuronWords(record: RecordFrame, layer: number, neuron: number, value: number): string {
  const bits = stateOf(record, layer, neuron);
  const words = stateWords[neuronCode(bits, record.layers[layer]!)]!;
  const shown = bits & neuronState.computed ? `, value ${formatValue(value)}` : '';
  return `Layer ${layer}, neuron ${neuron}: ${words}${shown}.`;
}

/** 'Token 12 of 80, "␣sky": 41 MB read of 92 MB, 2 missed.' */
export function tokenSentence({ track, surprise }: Source, index: number): string {
  const token = track.tokens[index];
  if (!token) return 'No token.';
  const lead = `Token ${index + 1} of ${formatCount(track.length)}, “${tokenWords(token.text)}”`;
  const bytes = track.figure('bytes', index);
  if (Number.isNaN(bytes)) {
    return `${lead}: ${index === 0 ? 'made by the prefill, so it has no frame' : 'no frame'}.`;
  }
  const missed = track.figure('missed', index);
  const nats = surprise?.[index];
  return `${lead}: ${[
    `${formatBytes(bytes)} read of ${formatBytes(track.figure('denseBytes', index))}`,
    Number.isNaN(missed) ? null : `${missed} missed`,
    nats === undefined || Number.isNaN(nats) ? null : `surprise ${formatValue(nats)} nats`,
  ]
    .filter(Boolean)
    .join(', ')}.`;
}
