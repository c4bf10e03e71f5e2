import { useMemo, useRef } from 'react';
import { formatValue } from '../../activity/words';
import { drawSeries } from '../../canvas/plot';
import css from './Activity.module.css';
import { useSize } from './useSize';

interface SeriesChartProps {
  label: string;
  values: Float32Array;
  token: number;
  onToken: (token: number) => void;
}

/** A line over tokens; a click chooses one. The strip above it takes the keys, the table says the numbers. */
export function SeriesChart({ label, values, token, onToken }: SeriesChartProps) {
  const frame = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(frame);
  const box = useMemo(
    () => ({ left: 46, right: Math.max(100, width - 8), top: 8, bottom: Math.max(40, height - 26) }),
    [width, height],
  );
  const drawing = useMemo(() => drawSeries(values, box), [values, box]);
  const pitch = (box.right - box.left) / Math.max(1, values.length);
  // A neuron is quiet most of the time: single values stand on the zero line.
  const stems = pitch >= 3;
  const here = box.left + (token + 0.5) * pitch;
  return (
    <div ref={frame} className={css.scroll}>
      {width > 0 && (
        <svg
          className={css.chart}
          width={width}
          height={height - 4}
          role="img"
          aria-label={label}
          onClick={(event) => {
            const x = event.clientX - event.currentTarget.getBoundingClientRect().left;
            const chosen = Math.floor((x - box.left) / pitch);
            if (chosen >= 0 && chosen < values.length) onToken(chosen);
          }}
        >
          <path className={css.axis} d={`M${box.left} ${box.top}V${box.bottom}H${box.right}`} />
          <line className={css.zero} x1={box.left} x2={box.right} y1={drawing.zero} y2={drawing.zero} />
          <line className={css.at} x1={here} x2={here} y1={box.top} y2={box.bottom + 4} />
          {!stems && <path className={css.line} d={drawing.line} />}
          {stems && (
            <path className={css.stem} d={drawing.dots.map(({ x, y }) => `M${x} ${drawing.zero}V${y}`).join('')} />
          )}
          {pitch >= 5 &&
            drawing.dots.map(({ x, y }, i) => <circle key={i} className={css.dot} cx={x} cy={y} r={2.5} />)}
          <text x={box.left - 5} y={box.top + 8} textAnchor="end">
            {formatValue(drawing.max)}
          </text>
          <text x={box.left - 5} y={box.bottom} textAnchor="end">
            {formatValue(drawing.min)}
          </text>
          {drawing.zero < box.bottom - 14 && drawing.zero > box.top + 20 && (
            <text x={box.left - 5} y={drawing.zero + 4} textAnchor="end">
              0
            </text>
          )}
          <text x={box.left} y={box.bottom + 15}>
            1
          </text>
          <text x={box.right} y={box.bottom + 15} textAnchor="end">
            {values.length}
          </text>
          <text x={(box.left + box.right) / 2} y={box.bottom + 15} textAnchor="middle">
            token
          </text>
        </svg>
      )}
    </div>
  );
}
