import { useMemo, useRef } from 'react';
import { layerValues, stateOf, type RecordFrame } from '../../../electron/contract/frames';
import {
  layerGrid,
  layerPeak,
  packedModel,
  neuronMeasures,
  wrapColumns,
  type NeuronMeasure,
} from '../../activity/cells';
import { neuronCode, stateWords } from '../../activity/states';
import { formatValue, neuronWords } from '../../activity/words';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { CellTable } from './CellTable';
import { Choice } from './Choice';
import { Heat } from './Heat';
import { HistogramChart } from './HistogramChart';
import { Legend } from './Legend';
import { RecordGate } from './RecordGate';
import type { ViewProps } from './SummaryViews';
import { TableChoice } from './TableChoice';
import { useSize } from './useSize';

/** The whole model, one cell a neuron. */
export function ModelView({ source, token }: ViewProps) {
  return <RecordGate source={source} token={token} render={(record) => <Model record={record} />} />;
}

function Model({ record }: { record: RecordFrame }) {
  const box = useRef<HTMLDivElement>(null);
  const size = useSize(box);
  const spot = useStore((s) => s.spot);
  const { setSpot, setLook } = useStore.getState();
  const { layers, neurons } = record;
  // As many lines a layer as make the cells about square.
  const aspect = size.height > 0 ? size.width / size.height : 2;
  const wide = Math.sqrt(neurons * layers.length * aspect);
  const lines = Math.max(1, Math.round(neurons / Math.min(neurons, wide)));
  const columns = Math.ceil(neurons / lines);
  const grid = useMemo(() => packedModel(record, columns), [record, columns]);
  const layer = Math.min(layers.length - 1, spot.layer);
  const neuron = Math.min(neurons - 1, spot.neuron);
  const placeOf = (row: number, column: number): { layer: number; neuron: number } => ({
    layer: Math.floor(row / lines),
    neuron: (row % lines) * columns + column,
  });
  const perPixel = size.width > 0 ? Math.max(1, columns / size.width) : 1;
  return (
    <div className={css.main} ref={box}>
      <div className={css.options}>
        <span className={css.small}>
          {layers.length} layers of {neurons.toLocaleString('en')} neurons, one cell each.
          {perPixel > 1.05 && ` ${perPixel.toFixed(1)} neurons share a pixel: zoom in with + to see each.`} Keys + and −
          zoom, 0 shows all.
        </span>
      </div>
      <Heat
        label="Every neuron of every layer: state"
        rowsTitle="layer"
        columnsTitle={lines > 1 ? `neuron, ${lines} lines of ${columns} a layer` : 'neuron'}
        grid={grid}
        group={lines}
        rowName={(row) => String(Math.floor(row / lines))}
        cursor={{ row: layer * lines + Math.floor(neuron / columns), column: neuron % columns }}
        onCursor={(row, column) => {
          const place = placeOf(row, column);
          setSpot({ layer: place.layer, neuron: Math.min(neurons - 1, place.neuron) });
        }}
        onOpen={() => setLook({ view: 'layer' })}
        words={(row, column) => {
          const place = placeOf(row, column);
          return place.neuron < neurons ? wordsOf(record, place.layer, place.neuron) : 'No neuron here.';
        }}
      />
      <Legend grid={grid} />
    </div>
  );
}

let last: { record: RecordFrame; layer: number; values: Float32Array } | null = null;
function valuesOf(record: RecordFrame, layer: number): Float32Array {
  if (last?.record !== record || last.layer !== layer) last = { record, layer, values: layerValues(record, layer) };
  return last.values;
}
const wordsOf = (record: RecordFrame, layer: number, neuron: number): string =>
  neuronWords(record, layer, neuron, valuesOf(record, layer)[neuron]!);

/** One layer, one cell a neuron, and where its gates lie. */
export function LayerView({ source, token }: ViewProps) {
  return <RecordGate source={source} token={token} render={(record) => <Layer record={record} />} />;
}

const measureNames: Record<NeuronMeasure, string> = { state: 'State', value: 'Value' };

function Layer({ record }: { record: RecordFrame }) {
  const box = useRef<HTMLDivElement>(null);
  const size = useSize(box);
  const spot = useStore((s) => s.spot);
  const measure = useStore((s) => s.look.neuronMeasure);
  const table = useStore((s) => s.look.table);
  const { setSpot, setLook } = useStore.getState();
  const { neurons } = record;
  const layer = Math.min(record.layers.length - 1, spot.layer);
  const neuron = Math.min(neurons - 1, spot.neuron);
  const max = useMemo(() => layerPeak(record, layer), [record, layer]);
  const columns = wrapColumns(neurons, size.height > 0 ? (size.width * 0.72) / Math.max(80, size.height - 90) : 2);
  const grid = useMemo(() => layerGrid(record, layer, measure, columns, max), [record, layer, measure, columns, max]);
  const openTime = (): void => setLook({ view: 'time', over: 'neuron' });
  return (
    <div className={css.main} ref={box}>
      <div className={css.options}>
        <Choice
          label="Layer"
          value={layer}
          options={record.layers.map(({ route }, i) => [i, `${i} (${route})`] as const)}
          onChange={(next) => setSpot({ layer: next })}
        />
        <Choice
          label="Show"
          value={measure}
          options={neuronMeasures.map((name) => [name, measureNames[name]] as const)}
          onChange={(neuronMeasure) => setLook({ neuronMeasure })}
        />
        <TableChoice />
      </div>
      <div className={css.columns}>
        <div style={{ flex: 2.6 }}>
          {table ? (
            <CellTable
              label={`Neurons of layer ${layer}`}
              columns={['Neuron', 'State', 'Value']}
              count={neurons}
              current={neuron}
              onCurrent={(at) => setSpot({ layer, neuron: at })}
              onOpen={openTime}
              row={(at) => [
                String(at),
                stateWords[neuronCode(stateOf(record, layer, at), record.layers[layer]!)]!,
                formatValue(valuesOf(record, layer)[at]!),
              ]}
            />
          ) : (
            <Heat
              label={`Neurons of layer ${layer}: ${measureNames[measure]}`}
              rowsTitle="neuron"
              columnsTitle={`${columns} neurons a line`}
              rowName={(row) => String(row * columns)}
              grid={grid}
              cursor={{ row: Math.floor(neuron / columns), column: neuron % columns }}
              onCursor={(row, column) => setSpot({ layer, neuron: Math.min(neurons - 1, row * columns + column) })}
              onOpen={openTime}
              words={(row, column) => {
                const at = row * columns + column;
                return at < neurons ? wordsOf(record, layer, at) : 'No neuron here.';
              }}
            />
          )}
          {measure === 'value' ? (
            <Legend
              grid={grid}
              from={`−${formatValue(max)}`}
              to={formatValue(max)}
              note="root scale, 0 in the middle"
            />
          ) : (
            <Legend grid={grid} />
          )}
        </div>
        <HistogramChart record={record} layer={layer} />
      </div>
    </div>
  );
}
