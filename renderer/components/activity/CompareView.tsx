import { useMemo, useState } from 'react';
import { stopNames, stopPosition, type StopName } from '../../../electron/contract/sparsity';
import type { SummaryFrame } from '../../../electron/contract/frames';
import type { Source } from '../../activity/source';
import { blockMeasureNames, type ViewProps } from './SummaryViews';
import { blockDifference, differenceGrid, sameShape, type DiffMeasure } from '../../activity/difference';
import { blockGrid, blockMeasures } from '../../activity/cells';
import { blockWords, formatShare, formatValue, tokenSentence } from '../../activity/words';
import type { Window } from '../../canvas/grid';
import { useStore } from '../../store/store';
import controls from '../controls.module.css';
import css from './Activity.module.css';
import { Choice } from './Choice';
import { Heat } from './Heat';
import { Legend } from './Legend';
import { RunFacts } from './RunFacts';
import { TextDiff } from './TextDiff';
import { useFrame } from './useActivity';
import { useSourceChoices } from './useSourceChoices';

/** Two tokens, two replies or two places of the slider, beside each other. */
export function CompareView({ source, frame, token }: ViewProps) {
  const sources = useStore((s) => s.sources);
  const compareId = useStore((s) => s.compareId);
  const shift = useStore((s) => s.compareShift);
  const choices = useSourceChoices();
  const { compareWith, ensureSource } = useStore.getState();
  const other = sources[compareId ?? source.id] ?? source;
  const otherToken = Math.max(0, Math.min(other.track.length - 1, token + shift));
  const otherFrame = useFrame(other, otherToken);
  return (
    <div className={`${css.main} ${css.scroll}`}>
      <div className={css.options}>
        <Choice
          label="With"
          value={other.id}
          options={choices}
          onChange={(id) => {
            compareWith(id, shift);
            void ensureSource(id);
          }}
        />
        <label className={css.choice}>
          <span>token</span>
          <input
            type="number"
            min={1}
            max={Math.max(1, other.track.length)}
            value={otherToken + 1}
            onChange={(event) => {
              const at = event.target.valueAsNumber;
              if (Number.isInteger(at)) compareWith(other.id, at - 1 - token);
            }}
          />
        </label>
        <Runs source={source} />
      </div>
      {other.id !== source.id && (
        <div className={css.pair}>
          <RunFacts sources={[source, other]} />
          <TextDiff a={source} b={other} />
        </div>
      )}
      {!otherFrame || !sameShape(frame, otherFrame) ? (
        <p className={css.note}>
          {otherFrame
            ? 'These two come from models of different shapes.'
            : `${tokenSentence(other, otherToken)} Choose another to compare with.`}
        </p>
      ) : (
        <Maps a={source} b={other} from={frame} to={otherFrame} tokens={[token, otherToken]} />
      )}
    </div>
  );
}

function Maps({
  a,
  b,
  from,
  to,
  tokens,
}: {
  a: Source;
  b: Source;
  from: SummaryFrame;
  to: SummaryFrame;
  tokens: readonly [number, number];
}) {
  const [measure, setMeasure] = useState<DiffMeasure>('active');
  const [seen, setSeen] = useState<Window | null>(null);
  const spot = useStore((s) => s.spot);
  const { setSpot } = useStore.getState();
  const max = Math.max(a.track.peak, b.track.peak);
  const [left, right] = useMemo(
    () => [blockGrid(from, measure, max), blockGrid(to, measure, max)],
    [from, to, measure, max],
  );
  const difference = useMemo(() => differenceGrid(from, to, measure), [from, to, measure]);
  const cursor = {
    row: Math.min(from.layers.length - 1, spot.layer),
    column: Math.min(from.blocks - 1, Math.floor(spot.neuron / from.blockSize)),
  };
  const shared = {
    rowsTitle: 'layer',
    columnsTitle: 'neurons',
    columnName: (column: number) => String(column * from.blockSize),
    cursor,
    onCursor: (layer: number, block: number) => setSpot({ layer, neuron: block * from.blockSize }),
    seen,
    onSeen: setSeen,
    compact: true,
  };
  const differenceWords = (layer: number, block: number): string => {
    const value = blockDifference(from, to, layer, block, measure);
    const sign = value > 0 ? '+' : value < 0 ? '−' : '';
    const size = measure === 'peak' ? formatValue(Math.abs(value)) : formatShare(Math.abs(value));
    return `Layer ${layer}, block ${block}: ${Number.isNaN(value) ? 'unknown on one side' : `${sign}${size}`}.`;
  };
  const most = measure === 'peak' ? formatValue(difference.max) : formatShare(difference.max);
  return (
    <>
      <div className={css.options}>
        <Choice
          label="Show"
          value={measure}
          options={blockMeasures
            .filter((name): name is DiffMeasure => name !== 'state')
            .map((name) => [name, blockMeasureNames[name]] as const)}
          onChange={setMeasure}
        />
        <span className={css.note}>
          {difference.differing === 0
            ? 'No block differs.'
            : `${difference.differing} of ${difference.grid.codes.length} blocks differ.`}
        </span>
        <span className={css.small}>The cursor, + − and the view move in all three together.</span>
      </div>
      <div className={`${css.columns} ${css.tall}`}>
        <div>
          <h3>A: token {tokens[0] + 1}</h3>
          <Heat {...shared} label="A" grid={left} words={(layer, block) => blockWords(from, layer, block)} />
        </div>
        <div>
          <h3>B: token {tokens[1] + 1}</h3>
          <Heat {...shared} label="B" grid={right} words={(layer, block) => blockWords(to, layer, block)} />
        </div>
        <div>
          <h3>B − A</h3>
          <Heat {...shared} label="B less A" grid={difference.grid} words={differenceWords} />
        </div>
      </div>
      {difference.max > 0 && <Legend grid={difference.grid} from={`−${most}`} to={`+${most}`} note="B − A" />}
    </>
  );
}

/** Runs the prompt at two places of the slider. */
function Runs({ source }: { source: Source }) {
  const stops = useStore((s) => s.sparsity?.stops ?? stopNames);
  const running = useStore((s) => s.rerunning);
  const writing = useStore((s) => Object.keys(s.live).length > 0);
  const [first, setFirst] = useState<StopName>('dense');
  const [second, setSecond] = useState<StopName>(stops[stops.length - 1] ?? 'dense');
  const { messageId } = source;
  if (messageId === null) return null;
  const ab = async (mode: 'follow' | 'write'): Promise<void> => {
    const { rerun, lookAt, compareWith, capture } = useStore.getState();
    const run = (stop: StopName) =>
      rerun(
        {
          messageId,
          position: stopPosition(stop),
          mode,
          edits: [],
          auditEvery: capture.auditEvery,
          maxTokens: mode === 'write' ? Math.max(64, source.track.length) : null,
        },
        `${mode === 'write' ? 'Written' : 'Followed'} at ${stop}`,
      );
    const a = await run(first);
    const b = a && (await run(second));
    if (!a || !b) return;
    compareWith(b.id, 0);
    await lookAt(a.id, Math.min(1, a.track.length - 1));
  };
  const options = stops.map((stop) => [stop, stop] as const);
  const off = running !== null || writing;
  return (
    <>
      <Choice label="A at" value={first} options={options} onChange={setFirst} />
      <Choice label="B at" value={second} options={options} onChange={setSecond} />
      <button
        type="button"
        className={`${controls.button} ${controls.buttonSmall}`}
        disabled={off}
        onClick={() => void ab('write')}
      >
        A/B: write both
      </button>
      <button
        type="button"
        className={`${controls.button} ${controls.buttonSmall}`}
        disabled={off}
        onClick={() => void ab('follow')}
      >
        Follow the same tokens
      </button>
    </>
  );
}
