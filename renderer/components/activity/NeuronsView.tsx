import { useMemo, useState } from 'react';
import { extremes, specificToReply, specificToToken, type RankedNeuron } from '../../activity/specific';
import { formatShare, formatValue } from '../../activity/words';
import { formatCount } from '../../lib/format';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import { AnalyseButton } from './AnalyseButton';
import { Choice } from './Choice';
import type { ViewProps } from './SummaryViews';
import { useRates, useRecord } from './useActivity';

type Ranking = 'token' | 'reply' | 'dead' | 'always';

/** Which neurons stand out, against how often each was active in the session. */
export function NeuronsView({ source, token }: ViewProps) {
  const [ranking, setRanking] = useState<Ranking>('token');
  const count = source.track.length;
  const version = source.kind === 'imported' ? null : String(Math.floor(count / 32));
  const session = useRates(null, version);
  const own = useRates(source.id, ranking === 'reply' ? version : null);
  const { value: record, loading } = useRecord(source, ranking === 'token' ? token : -1);
  const base = session.value;
  const found = useMemo((): RankedNeuron[] => {
    if (!base) return [];
    if (ranking === 'token') return record && record !== 'none' ? specificToToken(record, base) : [];
    return ranking === 'reply' && own.value ? specificToReply(own.value, base) : [];
  }, [ranking, base, record, own.value]);
  const ends = useMemo(() => (base ? extremes(base) : null), [base]);
  const nothing = base !== undefined && base.tokens === 0;
  return (
    <div className={css.main}>
      <div className={css.options}>
        <Choice
          label="Neurons"
          value={ranking}
          options={[
            ['token', 'most specific to this token'],
            ['reply', 'most specific to this reply'],
            ['dead', 'never active (dead)'],
            ['always', 'always active'],
          ]}
          onChange={setRanking}
        />
        <span className={css.small}>
          {base ? `Base rate: ${formatCount(base.tokens)} tokens of this session whose every neuron was noted.` : ''}
        </span>
      </div>
      {session.error !== null && <p className={css.note}>{session.error}</p>}
      {source.kind === 'imported' && <p className={css.note}>An imported file has no session to compare with.</p>}
      {nothing || (ranking === 'token' && record === 'none') ? (
        <div className={css.empty}>
          <h3>Not every neuron was noted</h3>
          <p>Rates are counted over tokens captured with “Every neuron”, and over analysed replies.</p>
          <AnalyseButton source={source} />
        </div>
      ) : ranking === 'token' || ranking === 'reply' ? (
        <Ranked list={found} reply={ranking === 'reply'} loading={loading || own.loading || session.loading} />
      ) : (
        ends && base && <Ends which={ranking} ends={ends} neurons={base.neurons} tokens={base.tokens} />
      )}
    </div>
  );
}

function Ranked({ list, reply, loading }: { list: RankedNeuron[]; reply: boolean; loading: boolean }) {
  if (list.length === 0) {
    return <p className={css.note}>{loading ? 'Counting…' : 'No neuron stands out here.'}</p>;
  }
  return (
    <div className={css.scroll} tabIndex={0} role="region" aria-label="Specific neurons">
      <table className={css.table}>
        <thead>
          <tr>
            <th scope="col">Neuron</th>
            {reply ? <th scope="col">Active in this reply</th> : <th scope="col">Value here</th>}
            <th scope="col">In the session</th>
            <th scope="col">Surprise, bits</th>
            <th scope="col" className={css.left}>
              Look
            </th>
          </tr>
        </thead>
        <tbody>
          {list.map(({ layer, neuron, rate, base, value, score }) => (
            <tr key={`${layer} ${neuron}`}>
              <th scope="row">
                layer {layer} neuron {neuron}
              </th>
              <td>{reply ? formatShare(rate) : formatValue(value ?? Number.NaN)}</td>
              <td>{formatShare(base)}</td>
              <td>{score.toFixed(1)}</td>
              <td className={css.left}>
                <Go layer={layer} neuron={neuron} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Go({ layer, neuron }: { layer: number; neuron: number }) {
  const { setSpot, setLook } = useStore.getState();
  return (
    <button
      type="button"
      className={css.link}
      aria-label={`Layer ${layer} neuron ${neuron} over every token`}
      onClick={() => {
        setSpot({ layer, neuron });
        setLook({ view: 'time', over: 'neuron' });
      }}
    >
      over every token
    </button>
  );
}

function Ends({
  which,
  ends,
  neurons,
  tokens,
}: {
  which: 'dead' | 'always';
  ends: ReturnType<typeof extremes>;
  neurons: number;
  tokens: number;
}) {
  const counts = ends[which];
  const total = counts.reduce((a, b) => a + b, 0);
  const sample = which === 'dead' ? ends.deadSample : ends.alwaysSample;
  return (
    <div
      className={css.scroll}
      tabIndex={0}
      role="region"
      aria-label={which === 'dead' ? 'Dead neurons' : 'Always active'}
    >
      <p className={css.note}>
        {formatCount(total)} of {formatCount(neurons * counts.length)} neurons were{' '}
        {which === 'dead' ? 'never active' : 'active every time'} in {formatCount(tokens)} tokens.
      </p>
      <table className={css.table}>
        <thead>
          <tr>
            <th scope="col">Layer</th>
            <th scope="col">Neurons</th>
            <th scope="col">Share</th>
            <th scope="col" className={css.left}>
              The first of them
            </th>
          </tr>
        </thead>
        <tbody>
          {counts.map((count, layer) => (
            <tr key={layer}>
              <th scope="row">{layer}</th>
              <td>{formatCount(count)}</td>
              <td>{formatShare(count / neurons)}</td>
              <td className={css.left}>
                {sample
                  .filter((place) => place.layer === layer)
                  .slice(0, 12)
                  .map(({ neuron }) => neuron)
                  .join(', ')}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
