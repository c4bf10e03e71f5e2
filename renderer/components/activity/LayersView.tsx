import { useMemo, useState } from 'react';
import { frameRows, layerColumns, trackTotals, type LayerRow } from '../../activity/layers';
import { formatShare } from '../../activity/words';
import { formatBytes } from '../../lib/format';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { Choice } from './Choice';
import type { ViewProps } from './SummaryViews';

const share = (value: number | null): string => (value === null ? '–' : formatShare(value));

/** What each layer did: in this token, or on average over the reply. */
export function LayersView({ source, frame }: ViewProps) {
  const [of, setOf] = useState<'token' | 'reply'>('token');
  const layer = useStore((s) => s.spot.layer);
  const { setSpot, setLook } = useStore.getState();
  const writing = useStore((s) => s.live[source.id] !== undefined);
  const totals = useMemo(
    () => trackTotals(source.track),
    // A track changes inside: its count of frames says when.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [source, source.track.framed >> 3, writing],
  );
  const rows = useMemo(() => {
    const mean = totals.rows();
    if (of === 'reply') return mean;
    // One token's precision says little: these two always come from all audit tokens.
    return frameRows(frame).map((row, i) => ({
      ...row,
      precision: mean[i]?.precision ?? null,
      recall: mean[i]?.recall ?? null,
    }));
  }, [of, totals, frame]);
  const read = rows.reduce((sum, row) => sum + row.bytes, 0);
  const dense = rows.reduce((sum, row) => sum + row.denseBytes, 0);
  return (
    <div className={css.main}>
      <div className={css.options}>
        <Choice
          label="Of"
          value={of}
          options={[
            ['token', 'this token'],
            ['reply', `the last ${totals.frames} tokens (mean)`],
          ]}
          onChange={setOf}
        />
        <span className={css.note}>
          {formatBytes(read)} of {formatBytes(dense)} read in the layers:{' '}
          {formatShare(dense > 0 ? 1 - read / dense : 0)} saved.
        </span>
        <span className={css.small}>
          {totals.audits > 0
            ? `Precision and recall: from ${totals.audits} audit tokens only.`
            : 'Precision and recall need audit tokens; there are none yet.'}
        </span>
      </div>
      <div className={css.scroll} tabIndex={0} role="region" aria-label="Layers">
        <table className={css.table}>
          <caption className="visually-hidden">
            Every layer, {of === 'token' ? 'this token' : 'mean over tokens'}
          </caption>
          <thead>
            <tr>
              {layerColumns.map((name) => (
                <th key={name} scope="col">
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map((row) => (
              <tr key={row.layer} data-current={row.layer === layer}>
                <th scope="row">
                  <button
                    type="button"
                    className={css.link}
                    onClick={() => {
                      setSpot({ layer: row.layer });
                      setLook({ view: 'layer' });
                    }}
                  >
                    {row.layer}
                  </button>
                </th>
                <Cells row={row} heads={frame.heads} />
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </div>
  );
}

function Cells({ row, heads }: { row: LayerRow; heads: number }) {
  return (
    <>
      <td>{row.route}</td>
      <td>{row.named > 0 ? formatShare(row.named) : '–'}</td>
      <td>{formatShare(row.computed)}</td>
      <td>{formatShare(row.active)}</td>
      <td>
        {Number(row.heads.toFixed(1))}/{heads}
      </td>
      <td>{share(row.precision)}</td>
      <td>{share(row.recall)}</td>
      <td>{row.milliseconds.toFixed(3)} ms</td>
      <td>{formatBytes(Math.round(row.bytes))}</td>
      <td>{formatShare(row.denseBytes > 0 ? 1 - row.bytes / row.denseBytes : 0)}</td>
    </>
  );
}
