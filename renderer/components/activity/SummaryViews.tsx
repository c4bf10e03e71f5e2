import {
  blockGrid,
  blockMeasures,
  headGrid,
  headMeasures,
  type BlockMeasure,
  type HeadMeasure,
} from '../../activity/cells';
import type { SummaryFrame } from '../../../electron/contract/frames';
import type { Source } from '../../activity/source';
import { blockCode, canMiss, headCode, stateWords } from '../../activity/states';
import { blockWords, formatValue, headWords } from '../../activity/words';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { CellTable } from './CellTable';
import { Choice } from './Choice';
import { Heat } from './Heat';
import { Legend } from './Legend';
import { TableChoice } from './TableChoice';
import { useMemo, type ReactNode } from 'react';

export const blockMeasureNames: Record<BlockMeasure, string> = {
  active: 'Active',
  computed: 'Computed',
  named: 'Predicted',
  missed: 'Missed',
  peak: 'Peak value',
  state: 'State',
};

export interface ViewProps {
  source: Source;
  frame: SummaryFrame;
  token: number;
}

/** All layers × blocks of neurons. */
export function BlocksView({ source, frame }: ViewProps) {
  const measure = useStore((s) => s.look.blockMeasure);
  const table = useStore((s) => s.look.table);
  const spot = useStore((s) => s.spot);
  const { setLook, setSpot } = useStore.getState();
  const max = source.track.peak;
  const grid = useMemo(() => blockGrid(frame, measure, max), [frame, measure, max]);
  const block = Math.min(frame.blocks - 1, Math.floor(spot.neuron / frame.blockSize));
  const row = Math.min(frame.layers.length - 1, spot.layer);
  const go = (layer: number, to: number): void => setSpot({ layer, neuron: to * frame.blockSize });
  const openLayer = (): void => setLook({ view: 'layer' });
  return (
    <div className={css.main}>
      <MapOptions
        measure={measure}
        measures={blockMeasures}
        names={blockMeasureNames}
        onChange={(blockMeasure) => setLook({ blockMeasure })}
      >
        {measure === 'missed' && !frame.audit && (
          <span className={css.small}>Misses are known on audit tokens only; this is not one.</span>
        )}
      </MapOptions>
      {table ? (
        <CellTable
          label="Layers and blocks of neurons"
          columns={['Layer', 'Neurons', 'State', 'Predicted', 'Computed', 'Active', 'Missed', 'Peak']}
          count={frame.layers.length * frame.blocks}
          current={row * frame.blocks + block}
          onCurrent={(at) => go(Math.floor(at / frame.blocks), at % frame.blocks)}
          onOpen={openLayer}
          row={(at) => blockRow(frame, at)}
        />
      ) : (
        <Heat
          label={`Layers and blocks of ${frame.blockSize} neurons: ${blockMeasureNames[measure]}`}
          rowsTitle="layer"
          columnsTitle={`neurons, ${frame.blockSize} a block`}
          columnName={(column) => String(column * frame.blockSize)}
          grid={grid}
          cursor={{ row, column: block }}
          onCursor={go}
          onOpen={openLayer}
          words={(layer, at) => blockWords(frame, layer, at)}
        />
      )}
      {measure === 'state' ? (
        <Legend grid={grid} />
      ) : measure === 'peak' ? (
        <Legend grid={grid} from="0" to={`${formatValue(max)} largest |value|`} note="root scale" />
      ) : (
        <Legend grid={grid} from="0 %" to="100 % of the block" note="root scale" />
      )}
    </div>
  );
}

function blockRow(frame: SummaryFrame, at: number): string[] {
  const [layer, block] = [Math.floor(at / frame.blocks), at % frame.blocks];
  const first = block * frame.blockSize;
  const counts = {
    named: frame.named[at]!,
    computed: frame.computed[at]!,
    active: frame.active[at]!,
    missed: frame.missed?.[at] ?? 0,
  };
  const about = frame.layers[layer]!;
  return [
    String(layer),
    `${first}–${Math.min(frame.neurons, first + frame.blockSize) - 1}`,
    stateWords[blockCode(counts, about)]!,
    about.names ? String(counts.named) : '–',
    String(counts.computed),
    String(counts.active),
    frame.missed && canMiss(about) ? String(counts.missed) : '–',
    counts.computed > 0 ? formatValue(frame.peak[at]!) : 'unknown',
  ];
}

const headMeasureNames: Record<HeadMeasure, string> = { norm: 'Norm', state: 'State' };

/** All layers × attention heads. */
export function HeadsView({ source, frame }: ViewProps) {
  const measure = useStore((s) => s.look.headMeasure);
  const table = useStore((s) => s.look.table);
  const spot = useStore((s) => s.spot);
  const { setLook, setSpot } = useStore.getState();
  const max = source.track.norm;
  const grid = useMemo(() => headGrid(frame, measure, max), [frame, measure, max]);
  const row = Math.min(frame.layers.length - 1, spot.layer);
  const column = Math.min(frame.heads - 1, spot.head);
  const openTime = (): void => setLook({ view: 'time', over: 'head' });
  return (
    <div className={css.main}>
      <MapOptions
        measure={measure}
        measures={headMeasures}
        names={headMeasureNames}
        onChange={(headMeasure) => setLook({ headMeasure })}
      />
      {table ? (
        <CellTable
          label="Layers and heads"
          columns={['Layer', 'Head', 'State', 'Norm']}
          count={frame.layers.length * frame.heads}
          current={row * frame.heads + column}
          onCurrent={(at) => setSpot({ layer: Math.floor(at / frame.heads), head: at % frame.heads })}
          onOpen={openTime}
          row={(at) => [
            String(Math.floor(at / frame.heads)),
            String(at % frame.heads),
            stateWords[headCode(frame.headFlags[at]!)]!,
            formatValue(frame.headNorms[at]!),
          ]}
        />
      ) : (
        <Heat
          label={`Layers and attention heads: ${headMeasureNames[measure]}`}
          rowsTitle="layer"
          columnsTitle="attention head"
          grid={grid}
          cursor={{ row, column }}
          onCursor={(layer, head) => setSpot({ layer, head })}
          onOpen={openTime}
          words={(layer, head) => headWords(frame, layer, head)}
        />
      )}
      {measure === 'state' ? (
        <Legend grid={grid} />
      ) : (
        <Legend grid={grid} from="0" to={`${formatValue(max)} largest norm`} note="root scale" />
      )}
    </div>
  );
}

interface MapOptionsProps<M extends string> {
  measure: M;
  measures: readonly M[];
  names: Record<M, string>;
  onChange: (measure: M) => void;
  children?: ReactNode;
}

/** What a map of all layers shows, in which colours, or as a table. */
function MapOptions<M extends string>({ measure, measures, names, onChange, children }: MapOptionsProps<M>) {
  return (
    <div className={css.options}>
      <Choice
        label="Show"
        value={measure}
        options={measures.map((name) => [name, names[name]] as const)}
        onChange={onChange}
      />
      <ScaleChoice />
      <TableChoice />
      {children}
    </div>
  );
}

export function ScaleChoice() {
  const scale = useStore((s) => s.look.scale);
  const { setLook } = useStore.getState();
  return (
    <Choice
      label="Colours"
      value={scale}
      options={[
        ['viridis', 'Viridis'],
        ['cividis', 'Cividis'],
      ]}
      onChange={(next) => setLook({ scale: next })}
    />
  );
}
