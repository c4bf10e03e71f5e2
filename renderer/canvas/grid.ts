import type { Grid } from '../activity/cells';
import type { Palette } from './palette';

/** The part of a grid that is seen, in cells; fractions are parts of cells. */
export interface Window {
  x: number;
  y: number;
  columns: number;
  rows: number;
}

/** From pixels to cells: the column of each x and the row of each y; −1 = a gap between cells. */
export interface Layout {
  width: number;
  height: number;
  columns: Int32Array;
  rows: Int32Array;
}

/** Cells of at least this many pixels have a gap of one pixel after them. */
const gapFrom = 5;

function axis(pixels: number, from: number, shown: number, count: number, group: number): Int32Array {
  const cells = new Int32Array(pixels);
  const size = pixels / shown;
  for (let i = 0; i < pixels; i++) {
    const cell = Math.floor(from + (i + 0.5) / size);
    if (cell < 0 || cell >= count) cells[i] = -1;
    else cells[i] = cell;
  }
  // The last pixel of a cell (or of a group of lines) is the gap.
  for (let i = 0; i + 1 < pixels; i++) {
    if (cells[i] === cells[i + 1]) continue;
    const border = Math.floor(cells[i]! / group) !== Math.floor(cells[i + 1]! / group);
    if (size >= gapFrom || (group > 1 && border && size >= 2)) cells[i] = -1;
  }
  return cells;
}

/** `group`: lines of a grid that belong together, such as those of one layer. */
export function layoutOf(
  grid: Pick<Grid, 'rows' | 'columns'>,
  width: number,
  height: number,
  seen: Window,
  group = 1,
): Layout {
  return {
    width,
    height,
    columns: axis(width, seen.x, seen.columns, grid.columns, 1),
    rows: axis(height, seen.y, seen.rows, grid.rows, group),
  };
}

/** Writes the pixels of a grid; `out` is [height][width]. */
export function paintGrid(out: Int32Array, layout: Layout, grid: Grid, palette: Palette, gap: number): void {
  const { width, height, columns, rows } = layout;
  const { codes } = grid;
  for (let y = 0; y < height; y++) {
    const row = rows[y]!;
    const at = y * width;
    if (row < 0) {
      out.fill(gap, at, at + width);
      continue;
    }
    const colours = palette[y & 7]!;
    const from = row * grid.columns;
    for (let x = 0; x < width; x++) {
      const column = columns[x]!;
      out[at + x] = column < 0 ? gap : colours[((x & 7) << 8) | codes[from + column]!]!;
    }
  }
}

/**
 * Moves every pixel of `shown` towards `target` by share / 256 (0 … 256); true once they are equal. Two channels at a time, each in its own
 * 16 bits. A share of 256 copies.
 */
export function blendPixels(shown: Int32Array, target: Int32Array, share: number): boolean {
  if (share >= 256) {
    shown.set(target);
    return true;
  }
  let equal = true;
  const kept = 256 - share;
  for (let i = 0; i < target.length; i++) {
    const to = target[i]!;
    const from = shown[i]!;
    if (to === from) continue;
    const odd = (Math.imul((from >>> 8) & 0xff00ff, kept) + Math.imul((to >>> 8) & 0xff00ff, share)) & 0xff00ff00;
    const even = ((Math.imul(from & 0xff00ff, kept) + Math.imul(to & 0xff00ff, share)) >>> 8) & 0xff00ff;
    const next = odd | even;
    // Rounding down would stop short of the target.
    if (next === from) shown[i] = to;
    else {
      shown[i] = next;
      equal = false;
    }
  }
  return equal;
}
