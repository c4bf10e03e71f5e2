import { useMemo } from 'react';
import type { RecordFrame } from '../../../electron/contract/frames';
import { layerHistogram } from '../../activity/histogram';
import { formatValue } from '../../activity/words';
import { drawHistogram } from '../../canvas/plot';
import { formatCount } from '../../lib/format';
import css from './Activity.module.css';

const box = { left: 30, right: 292, top: 8, bottom: 150 };

/** How strong a layer's active gates are, and the threshold that they passed. */
export function HistogramChart({ record, layer }: { record: RecordFrame; layer: number }) {
  const histogram = useMemo(() => layerHistogram(record, layer), [record, layer]);
  const drawing = useMemo(() => drawHistogram(histogram, box), [histogram]);
  const last = histogram.edges[histogram.edges.length - 1]!;
  const about = histogram.of === 'gate' ? '|act(gate)|' : '|value|';
  const sentence = `${formatCount(histogram.active)} active above the threshold ${formatValue(histogram.threshold)}, ${formatCount(histogram.inactive)} computed and inactive, ${formatCount(histogram.notComputed)} not computed${histogram.missed > 0 ? ` (${histogram.missed} of them missed)` : ''}.`;
  return (
    <figure className={css.scroll}>
      <figcaption className={css.small}>
        Active neurons of layer {layer} by {about}
      </figcaption>
      <svg className={css.chart} viewBox="0 0 300 186" role="img" aria-label={`Histogram of ${about}: ${sentence}`}>
        {drawing.bars.map(({ x, y, width, height }, i) => (
          <rect key={i} className={css.histBar} x={x} y={y} width={width} height={height} />
        ))}
        <path className={css.axis} d={`M${box.left} ${box.top}V${box.bottom}H${box.right}`} />
        {histogram.of === 'gate' && (
          <line
            className={css.threshold}
            x1={drawing.threshold}
            x2={drawing.threshold}
            y1={box.top}
            y2={box.bottom + 4}
          />
        )}
        <text x={box.left - 4} y={box.top + 8} textAnchor="end">
          {drawing.most}
        </text>
        <text x={box.left - 4} y={box.bottom} textAnchor="end">
          0
        </text>
        <text x={box.left} y={box.bottom + 14}>
          0
        </text>
        <text x={box.right} y={box.bottom + 14} textAnchor="end">
          {formatValue(last)}
        </text>
        <text x={(box.left + box.right) / 2} y={box.bottom + 14} textAnchor="middle">
          {about}
        </text>
        {histogram.of === 'gate' && (
          <text x={box.left} y={box.bottom + 32}>
            dashed: threshold {formatValue(histogram.threshold)}; heights by root
          </text>
        )}
      </svg>
      <p className={css.note}>{sentence}</p>
    </figure>
  );
}
