import type { Source } from '../../activity/source';
import { formatRate } from '../../lib/format';
import { formatKl } from '../../lib/sparsityWords';
import css from './Activity.module.css';

const meanBytes = ({ track }: Source): number => {
  const values = track.column('bytes').filter((value) => !Number.isNaN(value));
  return values.reduce((sum, value) => sum + value, 0) / values.length;
};
const meanSurprise = ({ surprise }: Source): number | null => {
  const known = surprise?.filter((value) => Number.isFinite(value));
  return known && known.length > 0 ? known.reduce((a, b) => a + b, 0) / known.length : null;
};

/** Speed, distance from dense and cost of runs, one line each. */
export function RunFacts({ sources }: { sources: readonly Source[] }) {
  return (
    <table className={css.table}>
      <caption className={css.small}>Speeds of runs include noting down every neuron.</caption>
      <thead>
        <tr>
          {['', 'Made', 'Tokens', 'Speed', 'KL to dense', 'Surprise a token', 'Read a token'].map((name) => (
            <th key={name} scope="col">
              {name === '' ? <span className="visually-hidden">Which</span> : name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {sources.map((source, i) => {
          const surprise = meanSurprise(source);
          const bytes = meanBytes(source);
          return (
            <tr key={source.id}>
              <th scope="row">
                {i === 0 ? 'A' : 'B'}: {source.label}
              </th>
              <td>{source.provenance?.sparsity ?? '–'}</td>
              <td>{source.track.length}</td>
              <td>{source.tokensPerSecond === null ? 'not measured' : formatRate(source.tokensPerSecond)}</td>
              <td>{source.kl === null ? 'not measured' : `${formatKl(source.kl)} nats`}</td>
              <td>{surprise === null ? 'not measured' : `${surprise.toFixed(3)} nats`}</td>
              <td>{Number.isNaN(bytes) ? '–' : `${(bytes / 1e6).toFixed(1)} MB`}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
