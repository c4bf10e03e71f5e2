import { diffArrays } from 'diff';
import type { ActivityToken } from '../../electron/contract/activity';
import type { SummaryFrame } from '../../electron/contract/frames';
import { blockLength, blockValue, type BlockMeasure, type Grid } from './cells';
import { signedLevel, state } from './states';

/** Can two frames be laid over each other? */
export const sameShape = (a: SummaryFrame, b: SummaryFrame): boolean =>
  a.layers.length === b.layers.length && a.blocks === b.blocks && a.neurons === b.neurons && a.heads === b.heads;

export type DiffMeasure = Exclude<BlockMeasure, 'state'>;

/** b − a of one block, as a share of the block (peak: as it is); NaN where either is not known. */
export function blockDifference(
  a: SummaryFrame,
  b: SummaryFrame,
  layer: number,
  block: number,
  measure: DiffMeasure,
): number {
  const difference = blockValue(b, layer, block, measure) - blockValue(a, layer, block, measure);
  return measure === 'peak' ? difference : difference / blockLength(a, block);
}

/** b − a for all blocks and the largest size of it, which both ends of the colour scale stand for. */
export function differenceGrid(
  a: SummaryFrame,
  b: SummaryFrame,
  measure: DiffMeasure,
): { grid: Grid; max: number; differing: number } {
  const { layers, blocks } = a;
  const values = new Float64Array(layers.length * blocks);
  let max = 0;
  let differing = 0;
  for (let at = 0; at < values.length; at++) {
    const value = blockDifference(a, b, Math.floor(at / blocks), at % blocks, measure);
    values[at] = value;
    if (Math.abs(value) > max) max = Math.abs(value);
    if (value !== 0) differing++;
  }
  const codes = new Uint8Array(values.length);
  for (let at = 0; at < values.length; at++) {
    codes[at] = Number.isNaN(values[at]!) ? state.skipped : signedLevel(max > 0 ? values[at]! / max : 0);
  }
  return { grid: { rows: layers.length, columns: blocks, codes, scale: 'signed' }, max, differing };
}

export interface TokenChange {
  kind: 'same' | 'removed' | 'added';
  tokens: ActivityToken[];
}

/** How the second list of tokens differs from the first, by id. */
export function tokenDiff(a: readonly ActivityToken[], b: readonly ActivityToken[]): TokenChange[] {
  // Past this many edits a diff says nothing more and costs too much: then everything is replaced.
  const parts = diffArrays([...a], [...b], {
    comparator: (left, right) => left.id === right.id,
    maxEditLength: 2000,
  });
  if (!parts) {
    return [
      { kind: 'removed', tokens: [...a] },
      { kind: 'added', tokens: [...b] },
    ];
  }
  return parts.map(({ added, removed, value }) => ({
    kind: added ? 'added' : removed ? 'removed' : 'same',
    tokens: value,
  }));
}

/** Tokens that are the same from the start on. */
export function commonPrefix(a: readonly ActivityToken[], b: readonly ActivityToken[]): number {
  const end = Math.min(a.length, b.length);
  let i = 0;
  while (i < end && a[i]!.id === b[i]!.id) i++;
  return i;
}

export const identical = (a: readonly ActivityToken[], b: readonly ActivityToken[]): boolean =>
  a.length === b.length && commonPrefix(a, b) === a.length;
