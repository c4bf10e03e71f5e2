import {
  layerValues,
  neuronState,
  type FrameRoute,
  type RecordFrame,
  type SummaryFrame,
} from '../../electron/contract/frames';
import { blockCode, firstLevel, headCode, level, neuronCode, signedLevel, state, stateCount } from './states';

/** Cells in rows; `codes` as in states.ts, [rows][columns]. */
export interface Grid {
  rows: number;
  columns: number;
  codes: Uint8Array;
  /** Which colours the codes from `firstLevel` on have. */
  scale: 'value' | 'signed';
  /** Bit n is set where code n, a state, may occur. Absent: look. */
  states?: number;
}

/** The states that occur in a grid, in order. */
export function statesIn(grid: Grid | PackedModel): number[] {
  let mask = grid.states ?? 0;
  if (grid.states === undefined && 'codes' in grid)
    for (const code of grid.codes) if (code < firstLevel) mask |= 1 << code;
  return Array.from({ length: stateCount }, (_, code) => code).filter((code) => code > 0 && (mask >> code) & 1);
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

/** Every neuron of the model, not yet made into cells: each layer takes `lines` lines of `columns`, layer after layer. */
export interface PackedModel extends Omit<Grid, 'codes'> {
  lines: number;
  neurons: number;
  /** As in a record: two neurons a byte. */
  bits: Uint8Array;
  routes: FrameRoute[];
}

export function packedModel(record: RecordFrame, columns: number): PackedModel {
  const { neurons, layers, states: bits } = record;
  const lines = Math.ceil(neurons / columns);
  // What may occur follows from the sums: no need to look at each of millions.
  let states = 0;
  for (const { route, active, computed, named, missed } of layers) {
    const [activeCode, idleCode] =
      named > 0 ? [state.namedActive, state.namedIdle] : [state.plainActive, state.plainIdle];
    if (active > 0) states |= 1 << activeCode;
    if (Math.max(computed, named) > active) states |= 1 << idleCode;
    if (missed > 0) states |= 1 << state.missed;
    if (Math.max(computed, named) < neurons) states |= 1 << (route === 'exact' ? state.shut : state.skipped);
  }
  const routes = layers.map(({ route }) => route);
  return { rows: layers.length * lines, columns, scale: 'value', states, lines, neurons, bits, routes };
}

/** The cells of a packed model; `into` is used again where it fits. */
export function unpackModel(
  { neurons, lines, columns, rows, bits, routes, states }: PackedModel,
  into?: Uint8Array,
): Grid {
  const codes = into?.length === rows * columns ? into : new Uint8Array(rows * columns);
  const row = Math.ceil(neurons / 2);
  const tables = new Map<FrameRoute, Uint8Array>();
  routes.forEach((route, layer) => {
    let table = tables.get(route);
    if (!table) {
      table = Uint8Array.from({ length: 16 }, (_, each) => neuronCode(each, { route }));
      tables.set(route, table);
    }
    const start = layer * lines * columns;
    const from = layer * row;
    for (let i = 0; i < neurons - 1; i += 2) {
      const byte = bits[from + (i >> 1)]!;
      codes[start + i] = table[byte & 15]!;
      codes[start + i + 1] = table[byte >> 4]!;
    }
    if (neurons & 1) codes[start + neurons - 1] = table[bits[from + (neurons >> 1)]! & 15]!;
  });
  return { rows, columns, codes, scale: 'value', states };
}

export const modelGrid = (record: RecordFrame, columns: number): Grid => unpackModel(packedModel(record, columns));

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
