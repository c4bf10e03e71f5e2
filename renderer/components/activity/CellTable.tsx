import { useVirtualizer } from '@tanstack/react-virtual';
import { useRef } from 'react';
import type { KeyboardEvent } from 'react';
import css from './CellTable.module.css';

export interface CellTableProps {
  label: string;
  columns: readonly string[];
  count: number;
  /** Cells of a row; computed for the rows that are seen. */
  row: (index: number) => readonly string[];
  current: number;
  onCurrent: (index: number) => void;
  onOpen?: (() => void) | undefined;
}

const height = 26;
/** Columns that hold words. */
const wide = ['State', 'Text'];

/** A table of any length: only the rows in view exist, and the ARIA counts say how many there are. Arrows move the current row. */
export function CellTable({ label, columns, count, row, current, onCurrent, onOpen }: CellTableProps) {
  const scroller = useRef<HTMLDivElement>(null);
  // eslint-disable-next-line react-hooks/incompatible-library -- the compiler is not in use
  const rows = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => height,
    overscan: 12,
  });
  const go = (index: number): void => {
    const next = Math.min(count - 1, Math.max(0, index));
    onCurrent(next);
    rows.scrollToIndex(next);
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor((scroller.current?.clientHeight ?? 0) / height) - 2);
    const steps: Record<string, number> = {
      ArrowUp: current - 1,
      ArrowDown: current + 1,
      PageUp: current - page,
      PageDown: current + page,
      Home: 0,
      End: count - 1,
    };
    const to = steps[event.key];
    if (event.key === 'Enter' && onOpen) onOpen();
    else if (to === undefined) return;
    else go(to);
    event.preventDefault();
    event.stopPropagation();
  };
  const items = rows.getVirtualItems();
  return (
    <div
      ref={scroller}
      className={css.scroller}
      role="grid"
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length}
      aria-readonly
      aria-activedescendant={items.some(({ index }) => index === current) ? `${label}-${current}` : undefined}
      tabIndex={0}
      onKeyDown={onKeyDown}
    >
      <div className={css.head} role="row" aria-rowindex={1}>
        {columns.map((name, i) => (
          <span key={name} role="columnheader" aria-colindex={i + 1} data-wide={wide.includes(name)}>
            {name}
          </span>
        ))}
      </div>
      <div className={css.body} style={{ height: rows.getTotalSize() }} role="presentation">
        {items.map(({ index, start }) => (
          <div
            key={index}
            id={`${label}-${index}`}
            className={css.row}
            role="row"
            aria-rowindex={index + 2}
            aria-selected={index === current}
            style={{ transform: `translateY(${start}px)` }}
            onClick={() => onCurrent(index)}
            onDoubleClick={onOpen}
          >
            {row(index).map((text, i) => (
              <span key={columns[i]} role="gridcell" aria-colindex={i + 1} data-wide={wide.includes(columns[i]!)}>
                {text}
              </span>
            ))}
          </div>
        ))}
      </div>
    </div>
  );
}
