import type { Grid } from '../../activity/cells';
import type { Window } from '../../canvas/grid';

type Size = Pick<Grid, 'rows' | 'columns'>;
interface Cell {
  row: number;
  column: number;
}

export const whole = ({ rows, columns }: Size): Window => ({ x: 0, y: 0, columns, rows });

const clamp = (value: number, most: number): number => Math.min(most, Math.max(0, value));

/** Where a key leads from a cell; null for keys that do not move. With Shift, arrows go ten at a time. */
export function moveInGrid(key: string, shift: boolean, { row, column }: Cell, { rows, columns }: Size): Cell | null {
  const step = shift ? 10 : 1;
  const to = (r: number, c: number): Cell => ({ row: clamp(r, rows - 1), column: clamp(c, columns - 1) });
  switch (key) {
    case 'ArrowLeft':
      return to(row, column - step);
    case 'ArrowRight':
      return to(row, column + step);
    case 'ArrowUp':
      return to(row - step, column);
    case 'ArrowDown':
      return to(row + step, column);
    case 'Home':
      return to(shift ? 0 : row, 0);
    case 'End':
      return to(shift ? rows - 1 : row, columns - 1);
    case 'PageUp':
      return to(row - 10, column);
    case 'PageDown':
      return to(row + 10, column);
    default:
      return null;
  }
}

/** `factor` below 1 shows less and larger, around a point in cells; null = all of it. */
export function zoomed(seen: Window, size: Size, factor: number, x: number, y: number): Window | null {
  const columns = Math.max(Math.min(8, size.columns), Math.min(size.columns, seen.columns * factor));
  const rows = Math.max(Math.min(4, size.rows), Math.min(size.rows, seen.rows * factor));
  if (columns >= size.columns && rows >= size.rows) return null;
  return {
    x: clamp(x - ((x - seen.x) / seen.columns) * columns, size.columns - columns),
    y: clamp(y - ((y - seen.y) / seen.rows) * rows, size.rows - rows),
    columns,
    rows,
  };
}

/** Moved as little as is needed for the cell to be seen; null = all of it. */
export function panned(seen: Window, size: Size, { row, column }: Cell): Window | null {
  if (seen.columns >= size.columns && seen.rows >= size.rows) return null;
  return {
    ...seen,
    x: Math.min(column, Math.max(seen.x, column + 1 - seen.columns)),
    y: Math.min(row, Math.max(seen.y, row + 1 - seen.rows)),
  };
}

/** Rows or columns that get a label: a round number apart, so that labels have `room` pixels. `group`: only the first line of each. */
export function ticks(from: number, shown: number, count: number, pixels: number, room: number, group = 1): number[] {
  if (pixels === 0 || shown === 0) return [];
  const groups = count / group;
  const least = (room * shown) / pixels / group;
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 50, 64, 100, 128, 200, 256, 500, 512, 1024, 2048, 4096, 8192].find(
    (candidate) => candidate >= least,
  );
  const found: number[] = [];
  for (let at = 0; at < groups; at += step ?? groups) {
    const line = at * group;
    if (line >= from - 0.01 && line < from + shown) found.push(line);
  }
  return found;
}
