import { figuresAt } from '../../electron/contract/place';
import type { SparsityState } from '../../electron/contract/sparsity';
import { formatBytes, formatRate } from '../lib/format';
import { estimateNote, formatKl, formatRise, formatShare, formatSpeedup } from '../lib/sparsityWords';
import css from './Sparsity.module.css';

/** What was measured at this place; ≈ marks estimates between two measured stops. */
export function SparsityFigures({ position, state }: { position: number; state: SparsityState }) {
  const found = figuresAt(position, state.stops, state.frontier);
  if (!found) return <p className={css.note}>Nothing was measured at this place.</p>;
  const { figures, measured } = found;
  const rows = [
    ['Speed', formatRate(figures.tokensPerSecond), 'Decoding, on this computer'],
    ['Against dense', formatSpeedup(figures.speedup), 'Speed divided by dense’s, measured in turns'],
    ['Perplexity', formatRise(figures.perplexityRatio), 'Against dense, on text that was held out'],
    ['KL', formatKl(figures.kl), 'How far the next token’s probabilities are from dense’s, in nats a token'],
    ['Agreement', formatShare(figures.agreement), 'Positions where the likeliest token is dense’s'],
    ['Density', formatShare(figures.density), 'Neurons that are computed'],
    ['Read per token', formatBytes(figures.bytesPerToken), 'Weights'],
  ] as const;
  const note = estimateNote(position, state);
  return (
    <>
      <dl className={css.figures}>
        {rows.map(([label, value, title]) => (
          <div key={label} title={title}>
            <dt>{label}</dt>
            <dd>
              {!measured && '≈\u2009'}
              {value}
            </dd>
          </div>
        ))}
      </dl>
      {note && <p className={css.note}>{note}</p>}
    </>
  );
}
