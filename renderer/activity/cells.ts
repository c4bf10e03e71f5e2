import { layerValues, neuronState, type RecordFrame, type SummaryFrame } from '../../electron/contract/frames';
import { blockCode, headCode, level, neuronCode, signedLevel, state } from './states';

/** Cells in rows; `codes` as in states.ts, [rows][columns]. */
export interface Grid {
  rows: number;
  columns: number;
  codes: Uint8Array;
  /** Which colours the codes from `firstLevel` on have. */
  scale: 'value' | 'signed';
}

export const blockMeasures = ['state', 'active', 'computed', 'named', 'missed', 'peak'] as const;
export type BlockMeasure = (typeof blockMeasures)[number];

/** Small shares matter most: a root spreads them. */
export const shareLevel = (share: number): number => level(Math.sqrt(share));
/** Of 0 … max, by root too. */
export const valueLevel = (value: number, max: number): number => (max > 0 ? level(Math.sqrt(value / max)) : level(0));

export const blockLength = (frame: SummaryFrame, block: number): number =>
  Math.min(frame.blockSize, frame.neurons - block * frame.blockSize);

/** A block's number for a measure; NaN where it is not known (peak: nothing computed; missed: no audit token). */
export function blockValue(
  frame: SummaryFrame,
  layer: number,
  block: number,
  measure: Exclude<BlockMeasure, 'state'>,
): number {
  const at = layer * frame.blocks + block;
  switch (measure) {
    case 'peak':
      return frame.computed[at]! > 0 || frame.layers[layer]!.route === 'exact' ? frame.peak[at]! : Number.NaN;
    case 'missed':
      return frame.missed ? frame.missed[at]! : Number.NaN;
    default:
      return frame[measure][at]!;
  }
}

/** All layers × neuron blocks. `max`: of the scale of peaks. */
export function blockGrid(frame: SummaryFrame, measure: BlockMeasure, max: number): Grid {
  const { layers, blocks } = frame;
  const codes = new Uint8Array(layers.length * blocks);
  for (let layer = 0; layer < layers.length; layer++) {
    const about = layers[layer]!;
    for (let block = 0; block < blocks; block++) {
      const at = layer * blocks + block;
      if (measure === 'state') {
        const [named, computed, active] = [frame.named[at]!, frame.computed[at]!, frame.active[at]!];
        codes[at] = blockCode({ named, computed, active, missed: frame.missed?.[at] ?? 0 }, about);
        continue;
      }
      const value = blockValue(frame, layer, block, measure);
      if (Number.isNaN(value)) codes[at] = measure === 'missed' ? state.none : state.skipped;
      else codes[at] = measure === 'peak' ? valueLevel(value, max) : shareLevel(value / blockLength(frame, block));
    }
  }
  return { rows: layers.length, columns: blocks, codes, scale: 'value' };
}

export const headMeasures = ['state', 'norm'] as const;
export type HeadMeasure = (typeof headMeasures)[number];

/** All layers × heads. */
export function headGrid(
  frame: Pick<SummaryFrame, 'layers' | 'heads' | 'headFlags' | 'headNorms'>,
  measure: HeadMeasure,
  max: number,
): Grid {
  const { layers, heads, headFlags, headNorms } = frame;
  const codes = new Uint8Array(layers.length * heads);
  for (let at = 0; at < codes.length; at++) {
    const norm = headNorms[at]!;
    if (measure === 'state') codes[at] = headCode(headFlags[at]!);
    else codes[at] = Number.isNaN(norm) ? state.skipped : valueLevel(norm, max);
  }
  return { rows: layers.length, columns: heads, codes, scale: 'value' };
}

/** How a row of neurons is broken into lines: [lines][columns], the last line padded. */
export function wrapColumns(neurons: number, aspect: number): number {
  const wide = Math.max(1, Math.min(neurons, Math.ceil(Math.sqrt(neurons * aspect))));
  // A multiple of 32 reads better, where there are enough.
  return wide > 64 ? Math.ceil(wide / 32) * 32 : wide;
}

export const neuronMeasures = ['state', 'value'] as const;
export type NeuronMeasure = (typeof neuronMeasures)[number];

/** One layer, one cell a neuron, `columns` a line. `max`: of |h|. */
export function layerGrid(
  record: RecordFrame,
  layer: number,
  measure: NeuronMeasure,
  columns: number,
  max: number,
): Grid {
  const { neurons } = record;
  const rows = Math.ceil(neurons / columns);
  const codes = new Uint8Array(rows * columns);
  const about = record.layers[layer]!;
  const row = Math.ceil(neurons / 2);
  if (measure === 'value') {
    const values = layerValues(record, layer);
    for (let i = 0; i < neurons; i++) {
      const value = values[i]!;
      if (Number.isNaN(value)) codes[i] = about.route === 'exact' ? signedLevel(0) : state.skipped;
      else codes[i] = signedLevel(signedRoot(value, max));
    }
    return { rows, columns, codes, scale: 'signed' };
  }
  const table = Array.from({ length: 16 }, (_, bits) => neuronCode(bits, about));
  for (let i = 0; i < neurons; i++) {
    const byte = record.states[layer * row + (i >> 1)]!;
    codes[i] = table[i & 1 ? byte >> 4 : byte & 15]!;
  }
  return { rows, columns, codes, scale: 'value' };
}

/** Every neuron of the model: each layer takes `ceil(neurons / columns)` lines, layer after layer. States. */
export function modelGrid(record: RecordFrame, columns: number, into?: Uint8Array): Grid {
  const { neurons, layers, states } = record;
  const lines = Math.ceil(neurons / columns);
  const size = layers.length * lines * columns;
  const codes = into?.length === size ? into : new Uint8Array(size);
  const row = Math.ceil(neurons / 2);
  const tables = new Map<string, Uint8Array>();
  for (let layer = 0; layer < layers.length; layer++) {
    const about = layers[layer]!;
    let table = tables.get(about.route);
    if (!table) {
      table = Uint8Array.from({ length: 16 }, (_, bits) => neuronCode(bits, about));
      tables.set(about.route, table);
    }
    let at = layer * lines * columns;
    const from = layer * row;
    const pairs = neurons >> 1;
    for (let i = 0; i < pairs; i++) {
      const byte = states[from + i]!;
      codes[at++] = table[byte & 15]!;
      codes[at++] = table[byte >> 4]!;
    }
    if (neurons & 1) codes[at] = table[states[from + pairs]! & 15]!;
  }
  return { rows: layers.length * lines, columns, codes, scale: 'value' };
}

/** Sign kept, small values spread. */
export const signedRoot = (value: number, max: number): number =>
  max > 0 ? Math.sign(value) * Math.sqrt(Math.min(1, Math.abs(value) / max)) : 0;

/** Largest |h| of a layer's active neurons; 0 where none is. */
export function layerPeak(record: RecordFrame, layer: number): number {
  let peak = 0;
  for (let i = record.offsets[layer]!; i < record.offsets[layer + 1]!; i++) {
    const size = Math.abs(record.values[i]!);
    if (size > peak) peak = size;
  }
  return peak;
}

/** Neurons of a layer in some state, by `neuronState` bits all set. */
export function countBits(record: RecordFrame, layer: number, bits: number): number {
  const row = Math.ceil(record.neurons / 2);
  let count = 0;
  for (let i = 0; i < record.neurons; i++) {
    const byte = record.states[layer * row + (i >> 1)]!;
    if (((i & 1 ? byte >> 4 : byte & 15) & bits) === bits) count++;
  }
  return count;
}

export const activeBit = neuronState.active;
