import { useId } from 'react';
import {
  bytesOf,
  costCells,
  countWords,
  layersOf,
  onlyPlace,
  placeNames,
  places,
  stackOf,
  sumOf,
  type Counts,
  type Place,
} from '../../activity/residency';
import { formatShare } from '../../activity/words';
import { placeTile } from '../../canvas/places';
import { formatBytes, formatCount } from '../../lib/format';
import { useThemeName } from '../../lib/useThemeName';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import legend from './Legend.module.css';
import { TableChoice } from './TableChoice';
import { useResidency, type Looks } from './useResidency';

/** Of the loaded model: where each layer's neurons lie, and what fetching them cost. */
export function ResidencyView() {
  const looks = useResidency();
  const device = useStore((s) => s.engine?.device ?? null);
  if (looks === undefined) return <p className={css.note}>Looking…</p>;
  if (looks === null) return <p className={css.note}>No model is loaded.</p>;
  const layers = layersOf(looks.last);
  const sum = sumOf(layers);
  const only = onlyPlace(sum);
  if (only !== null && only !== 'disk') {
    const where = only === 'gpu' ? `on the GPU${device === null ? '' : ` (${device})`}` : 'in main memory';
    return (
      <p className={css.note}>
        All neurons of all {layers.length} layers lie {where}: {formatBytes(bytesOf(looks.last)[only])} of weights, and
        nothing is read from the disk.
      </p>
    );
  }
  return <Spread looks={looks} layers={layers} sum={sum} />;
}

function Spread({ looks, layers, sum }: { looks: Looks; layers: Counts[]; sum: Counts }) {
  const table = useStore((s) => s.look.table);
  const id = useId();
  const bytes = bytesOf(looks.last);
  const all = sum.gpu + sum.memory + sum.disk;
  const occurring = places.filter((place) => sum[place] > 0 || bytes[place] > 0);
  return (
    <div className={css.main}>
      <Tiles id={id} />
      <div className={css.options}>
        <ul className={`${legend.legend} ${css.places}`} aria-label="Places">
          {occurring.map((place) => (
            <li key={place}>
              <svg className={legend.swatch} width={24} height={16} aria-hidden>
                <rect width={24} height={16} fill={tileOf(id, place)} />
              </svg>
              {placeNames[place]}: {formatCount(sum[place])} neurons ({formatShare(sum[place] / all)}),{' '}
              {formatBytes(bytes[place])}
            </li>
          ))}
        </ul>
        <TableChoice />
      </div>
      <Costs looks={looks} />
      <div className={css.scroll} tabIndex={0} role="region" aria-label="Layers">
        {table ? (
          <PlaceTable layers={layers} shown={occurring} />
        ) : (
          <Bars id={id} layers={layers} label={`Where neurons lie, ${layers.length} layers. ${countWords(sum)}.`} />
        )}
      </div>
    </div>
  );
}

const tileOf = (id: string, place: Place): string => `url(#${id}-${place})`;

/** The patterns of the bars. */
function Tiles({ id }: { id: string }) {
  const theme = useThemeName();
  return (
    <svg className={css.tiles} aria-hidden>
      <defs>
        {places.map((place) => {
          const { fill, ink, marks } = placeTile(theme, place);
          return (
            <pattern key={place} id={`${id}-${place}`} width={8} height={8} patternUnits="userSpaceOnUse">
              <rect width={8} height={8} fill={fill} />
              <path d={marks} fill={ink} />
            </pattern>
          );
        })}
      </defs>
    </svg>
  );
}

/** What fetching cost. */
function Costs({ looks }: { looks: Looks }) {
  return (
    <table className={`${css.table} ${css.costs}`}>
      <caption className="visually-hidden">What fetching neurons cost</caption>
      <thead>
        <tr>
          {['', 'Neurons asked for', 'Were in memory', 'Read from disk', 'Waited for it'].map((name, i) => (
            <th key={name} scope="col">
              {i === 0 ? <span className="visually-hidden">When</span> : name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {(
          [
            ['Since the last look', looks.last],
            ['Since this view was opened', looks.all],
          ] as const
        ).map(([when, cost]) => (
          <tr key={when}>
            <th scope="row">{when}</th>
            {costCells(cost).map((cell, i) => (
              <td key={i}>{cell}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const rowHeight = 18;

function Bars({ id, layers, label }: { id: string; layers: Counts[]; label: string }) {
  return (
    <svg className={css.stacks} height={layers.length * rowHeight} role="img" aria-label={label}>
      {layers.map((counts, layer) => {
        const y = layer * rowHeight;
        return (
          <g key={layer}>
            <title>{`Layer ${layer}: ${countWords(counts)}`}</title>
            <text x={0} y={y + 13}>
              {layer}
            </text>
            <svg x={30} y={y + 2} width="60%" height={rowHeight - 4}>
              {stackOf(counts).map(({ place, from, share }) => (
                <rect
                  key={place}
                  x={`${from * 100}%`}
                  width={`${share * 100}%`}
                  height={rowHeight - 4}
                  fill={tileOf(id, place)}
                />
              ))}
            </svg>
            <text x="60%" dx={40} y={y + 13}>
              {countWords(counts)}
            </text>
          </g>
        );
      })}
    </svg>
  );
}

function PlaceTable({ layers, shown }: { layers: Counts[]; shown: Place[] }) {
  return (
    <table className={css.table}>
      <caption className="visually-hidden">Where each layer’s neurons lie</caption>
      <thead>
        <tr>
          <th scope="col">Layer</th>
          {shown.map((place) => (
            <th key={place} scope="col">
              {placeNames[place]}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {layers.map((counts, layer) => (
          <tr key={layer}>
            <th scope="row">{layer}</th>
            {shown.map((place) => (
              <td key={place}>{formatCount(counts[place])}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
