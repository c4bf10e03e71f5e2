import { useMemo } from 'react';
import type { SummaryFrame } from '../../../electron/contract/frames';
import type { Source } from '../../activity/source';
import { formatValue, tokenWords } from '../../activity/words';
import { api } from '../../api';
import { Kept, useFetched } from '../../lib/useFetched';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { AnalyseButton } from './AnalyseButton';
import { CellTable } from './CellTable';
import { Choice } from './Choice';
import { SeriesChart } from './SeriesChart';
import { SpotFields } from './SpotFields';
import type { ViewProps } from './SummaryViews';
import { TableChoice } from './TableChoice';

const series = new Kept<Float32Array>(24);

/** One head over the tokens whose frames are here; NaN where it was not computed. */
function headSeries({ track }: Source, layer: number, head: number): Float32Array {
  return Float32Array.from({ length: track.length }, (_, i) => {
    const frame = track.bytes(i) ? track.frame(i) : null;
    return frame ? (frame.headNorms[layer * frame.heads + head] ?? Number.NaN) : Number.NaN;
  });
}

/** Peaks of one block, where single neurons are not known. */
function blockSeries({ track }: Source, frame: SummaryFrame, layer: number, neuron: number): Float32Array {
  const at = layer * frame.blocks + Math.floor(neuron / frame.blockSize);
  return Float32Array.from({ length: track.length }, (_, i) => {
    const one = track.bytes(i) ? track.frame(i) : null;
    return one && one.computed[at]! > 0 ? one.peak[at]! : Number.NaN;
  });
}

/** One neuron or head over every token: what it reacts to. */
export function TimeView({ source, frame, token }: ViewProps) {
  const spot = useStore((s) => s.spot);
  const over = useStore((s) => s.look.over);
  const table = useStore((s) => s.look.table);
  const writing = useStore((s) => s.live[source.id] !== undefined);
  const tick = useStore((s) => s.sourceTick);
  const { setLook, moveToken } = useStore.getState();
  const layer = Math.min(frame.layers.length - 1, spot.layer);
  const neuron = Math.min(frame.neurons - 1, spot.neuron);
  const head = Math.min(frame.heads - 1, spot.head);
  const count = source.track.length;
  // While a reply is written its series is asked for now and then, not for each token.
  const version = writing ? Math.floor(count / 16) : count;
  const wanted = over === 'neuron' && source.kind !== 'imported';
  const fetched = useFetched(wanted ? `${source.id} ${layer} ${neuron} ${version}` : null, series, () =>
    api.activity.neuron(source.id, layer, neuron),
  );
  const single = fetched.value?.some((value) => !Number.isNaN(value)) ?? false;
  const values = useMemo(() => {
    if (over === 'head') return headSeries(source, layer, head);
    return single && fetched.value ? fetched.value : blockSeries(source, frame, layer, neuron);
    // A track changes inside: the tick says when.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [over, source, tick, layer, head, neuron, single, fetched.value, frame.blocks]);
  const name = over === 'head' ? `layer ${layer}, head ${head}` : `layer ${layer}, neuron ${neuron}`;
  const known = values.reduce((sum, value) => sum + (Number.isNaN(value) ? 0 : 1), 0);
  const strongest = useMemo(() => strongestTokens(values, 12), [values]);
  return (
    <div className={css.main}>
      <div className={css.options}>
        <Choice
          label="Follow a"
          value={over}
          options={[
            ['neuron', 'neuron'],
            ['head', 'head'],
          ]}
          onChange={(next) => setLook({ over: next })}
        />
        <SpotFields frame={frame} over={over} />
        <TableChoice />
        <span className={css.small}>
          known for {known} of {count} tokens; gaps: not computed or no frame
        </span>
      </div>
      {over === 'neuron' && !single && !fetched.loading && (
        <div className={css.options}>
          <span className={css.note}>
            {fetched.error ?? 'Single neurons were not noted: this is the peak of the block that it is in.'}
          </span>
          <AnalyseButton source={source} />
        </div>
      )}
      {table ? (
        <CellTable
          label={`Tokens: ${name}`}
          columns={['Token', 'Text', 'Value']}
          count={count}
          current={token}
          onCurrent={moveToken}
          row={(at) => [
            String(at + 1),
            tokenWords(source.track.tokens[at]?.text ?? ''),
            formatValue(values[at] ?? Number.NaN),
          ]}
        />
      ) : (
        <SeriesChart
          label={`${over === 'head' ? 'Norm' : 'Value'} of ${name} over ${count} tokens`}
          values={values}
          token={token}
          onToken={moveToken}
        />
      )}
      <div className={css.options}>
        <span className={css.small}>Strongest on</span>
        {strongest.map((at) => (
          <button key={at} type="button" className={css.link} onClick={() => moveToken(at)}>
            {tokenWords(source.track.tokens[at]?.text ?? '')} ({formatValue(values[at]!)})
          </button>
        ))}
        {strongest.length === 0 && <span className={css.small}>no token: it was not active.</span>}
      </div>
    </div>
  );
}

function strongestTokens(values: Float32Array, most: number): number[] {
  return [...values.keys()]
    .filter((i) => values[i]! !== 0 && !Number.isNaN(values[i]!))
    .sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!))
    .slice(0, most);
}
