import { useId, useLayoutEffect, useRef, useState } from 'react';
import type { KeyboardEvent, PointerEvent, WheelEvent } from 'react';
import type { Grid, PackedModel } from '../../activity/cells';
import type { Window } from '../../canvas/grid';
import { showOn } from '../../canvas/heatStage';
import { lessMotion } from '../../lib/motion';
import { useThemeName } from '../../lib/useThemeName';
import { useStore } from '../../store/store';
import css from './Heat.module.css';
import { moveInGrid, panned, ticks, whole, zoomed } from './heatMoves';
import { useSize } from './useSize';

export interface HeatProps {
  /** Name for screen readers, and what is on the axes. */
  label: string;
  rowsTitle: string;
  columnsTitle: string;
  grid: Grid | PackedModel;
  /** Lines that belong together (those of one layer). */
  group?: number;
  /** What stands beside a row, under a column. */
  rowName?: (row: number) => string;
  columnName?: (column: number) => string;
  cursor: { row: number; column: number };
  onCursor: (row: number, column: number) => void;
  /** Enter or a double click. */
  onOpen?: () => void;
  words: (row: number, column: number) => string;
  /** What is seen of it, where several pictures move together. */
  seen?: Window | null;
  onSeen?: (seen: Window | null) => void;
  /** Shown in small beside others: without titles. */
  compact?: boolean;
}

/** Between drawings while a reply is written. */
const livePaceMs = 90;

/** A map of cells: canvas for the cells, DOM for all that is read. One cell has the cursor; keys, mouse and other maps move it. */
export function Heat({
  label,
  rowsTitle,
  columnsTitle,
  grid,
  group = 1,
  rowName = String,
  columnName = String,
  cursor,
  onCursor,
  onOpen,
  words,
  seen: shared,
  onSeen,
  compact = false,
}: HeatProps) {
  const id = useId();
  const plot = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useThemeName();
  const scale = useStore((s) => s.look.scale);
  const live = useStore((s) => s.following && s.sourceId !== null && s.live[s.sourceId] !== undefined);
  const size = useSize(plot);
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const pixels = { width: Math.round(size.width * ratio), height: Math.round(size.height * ratio) };
  const [own, setOwn] = useState<Window | null>(null);
  const [hover, setHover] = useState<{ row: number; column: number } | null>(null);
  const drag = useRef<{ x: number; y: number; seen: Window } | null>(null);
  const chosen = shared === undefined ? own : shared;
  const seen = chosen && fits(chosen, grid) ? chosen : whole(grid);
  const setSeen = onSeen ?? setOwn;
  const last = useRef<Window | null>(null);

  useLayoutEffect(() => {
    if (!canvas.current || size.width === 0 || size.height === 0) return;
    const moved = last.current !== null && !equal(last.current, seen);
    last.current = seen;
    showOn(canvas.current, {
      grid,
      width: pixels.width,
      height: pixels.height,
      theme,
      scale,
      seen,
      group,
      moved,
      still: lessMotion(),
      paceMs: live ? livePaceMs : 0,
    });
    // `seen` is made anew each time.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [grid, theme, scale, group, size.width, size.height, seen.x, seen.y, seen.columns, seen.rows, live]);

  const cellAt = (event: { clientX: number; clientY: number }): { row: number; column: number } | null => {
    const box = plot.current?.getBoundingClientRect();
    if (!box || box.width === 0) return null;
    const column = Math.floor(seen.x + ((event.clientX - box.left) / box.width) * seen.columns);
    const row = Math.floor(seen.y + ((event.clientY - box.top) / box.height) * seen.rows);
    return row >= 0 && row < grid.rows && column >= 0 && column < grid.columns ? { row, column } : null;
  };

  const onKeyDown = (event: KeyboardEvent): void => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'Enter' && onOpen) onOpen();
    else if (event.key === '+' || event.key === '=')
      setSeen(zoomed(seen, grid, 0.5, cursor.column + 0.5, cursor.row + 0.5));
    else if (event.key === '-') setSeen(zoomed(seen, grid, 2, cursor.column + 0.5, cursor.row + 0.5));
    else if (event.key === '0') setSeen(null);
    else {
      const next = moveInGrid(event.key, event.shiftKey, cursor, grid);
      if (!next) return;
      onCursor(next.row, next.column);
      setSeen(panned(seen, grid, next));
    }
    event.preventDefault();
    event.stopPropagation();
  };
  const onPointerDown = (event: PointerEvent): void => {
    const cell = cellAt(event);
    if (cell) onCursor(cell.row, cell.column);
    if (chosen) {
      drag.current = { x: event.clientX, y: event.clientY, seen };
      event.currentTarget.setPointerCapture(event.pointerId);
    }
  };
  const onPointerMove = (event: PointerEvent): void => {
    if (drag.current) {
      const { x, y, seen: from } = drag.current;
      const across = ((event.clientX - x) / size.width) * from.columns;
      const down = ((event.clientY - y) / size.height) * from.rows;
      setSeen(clampSeen({ ...from, x: from.x - across, y: from.y - down }, grid));
      return;
    }
    const cell = cellAt(event);
    if (cell?.row !== hover?.row || cell?.column !== hover?.column) setHover(cell);
  };
  const onWheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) return;
    const cell = cellAt(event);
    if (cell) setSeen(zoomed(seen, grid, event.deltaY > 0 ? 1.25 : 0.8, cell.column + 0.5, cell.row + 0.5));
  };

  const shown = hover ?? cursor;
  const inside = shown.row < grid.rows && shown.column < grid.columns;
  const read = inside ? words(shown.row, shown.column) : '';
  const [perColumn, perRow] = [size.width / seen.columns, size.height / seen.rows];
  return (
    <div className={css.heat} data-compact={compact}>
      <div className={css.rowTitle} aria-hidden>
        {rowsTitle}
      </div>
      <div className={css.rowTicks} aria-hidden>
        {ticks(seen.y, seen.rows, grid.rows, size.height, 15, group).map((row) => (
          <span key={row} style={{ top: (row - seen.y + 0.5) * perRow }}>
            {rowName(row)}
          </span>
        ))}
      </div>
      <div
        ref={plot}
        className={css.plot}
        role="grid"
        aria-label={label}
        aria-rowcount={grid.rows}
        aria-colcount={grid.columns}
        aria-activedescendant={inside ? `${id}cell` : undefined}
        aria-readonly
        tabIndex={0}
        data-pannable={chosen !== null}
        onKeyDown={onKeyDown}
        onPointerDown={onPointerDown}
        onPointerMove={onPointerMove}
        onPointerUp={() => (drag.current = null)}
        onPointerLeave={() => setHover(null)}
        onDoubleClick={onOpen}
        onWheel={onWheel}
      >
        <canvas ref={canvas} className={css.canvas} data-pixels={`${pixels.width}x${pixels.height}`} aria-hidden />
        <div
          className={css.cursor}
          aria-hidden
          style={{
            left: (cursor.column - seen.x) * perColumn,
            top: (cursor.row - seen.y) * perRow,
            width: perColumn,
            height: perRow,
          }}
        />
        {/* Of the grid's cells only the one with the cursor is there; the counts say where it is. */}
        <div role="row" aria-rowindex={cursor.row + 1} className="visually-hidden">
          <div role="gridcell" id={`${id}cell`} aria-colindex={cursor.column + 1} aria-selected>
            {cursor.row < grid.rows && cursor.column < grid.columns ? words(cursor.row, cursor.column) : ''}
          </div>
        </div>
      </div>
      <div className={css.columnTicks} aria-hidden>
        {ticks(seen.x, seen.columns, grid.columns, size.width, 44).map((column) => (
          <span key={column} style={{ left: (column - seen.x + 0.5) * perColumn }}>
            {columnName(column)}
          </span>
        ))}
      </div>
      <div className={css.columnTitle} aria-hidden>
        {columnsTitle}
      </div>
      <p className={css.readout} data-hover={hover !== null}>
        {read}
      </p>
    </div>
  );
}

type Size = Pick<Grid, 'rows' | 'columns'>;
const equal = (a: Window, b: Window): boolean =>
  a.x === b.x && a.y === b.y && a.columns === b.columns && a.rows === b.rows;
const fits = (seen: Window, grid: Size): boolean => seen.columns <= grid.columns && seen.rows <= grid.rows;
const clampSeen = (seen: Window, grid: Size): Window => ({
  ...seen,
  x: Math.min(grid.columns - seen.columns, Math.max(0, seen.x)),
  y: Math.min(grid.rows - seen.rows, Math.max(0, seen.y)),
});
