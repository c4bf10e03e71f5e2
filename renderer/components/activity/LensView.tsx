import type { Lens } from '../../../electron/contract/activity';
import { formatShare, tokenWords } from '../../activity/words';
import { api } from '../../api';
import { Kept, useFetched } from '../../lib/useFetched';
import { useStore } from '../../store/store';
import css from './Activity.module.css';
import type { ViewProps } from './SummaryViews';

const lenses = new Kept<Lens>(24);

/** What each layer would say next, if it were the last. */
export function LensView({ source, token }: ViewProps) {
  const writing = useStore((s) => Object.keys(s.live).length > 0);
  const can = source.kind !== 'imported' && !writing;
  const { value, loading, error } = useFetched(can ? `${source.id} ${token}` : null, lenses, () =>
    api.activity.lens(source.id, token),
  );
  const drawn = source.track.tokens[token];
  const most = value?.layers.reduce((top, layer) => Math.max(top, layer.length), 0) ?? 0;
  return (
    <div className={css.main}>
      <p className={css.note}>
        <strong>Raw logit lens</strong>: the residual stream after each layer through the final norm and the output
        head. Early layers were never trained to be read this way. The token that was drawn, “
        {tokenWords(drawn?.text ?? '')}”, is marked.
      </p>
      {source.kind === 'imported' && <p className={css.note}>An imported file has no model to ask.</p>}
      {writing && <p className={css.note}>The model is writing; the lens can be asked once the reply is done.</p>}
      {error !== null && <p className={css.note}>{error}</p>}
      {loading && value === undefined && <p className={css.note}>Asking every layer…</p>}
      {value && (
        <div className={css.scroll} tabIndex={0} role="region" aria-label="Raw logit lens">
          <table className={css.table}>
            <caption className="visually-hidden">Raw logit lens: likeliest next tokens of each layer</caption>
            <thead>
              <tr>
                <th scope="col">Layer</th>
                {Array.from({ length: most }, (_, i) => (
                  <th key={i} scope="col" className={css.left}>
                    {i + 1}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {value.layers.map((layer, i) => (
                <tr key={i}>
                  <th scope="row">{i}</th>
                  {layer.map(({ id, text, probability }, rank) => (
                    <td key={rank} className={css.left} data-drawn={id === drawn?.id}>
                      <code>{tokenWords(text)}</code> <span className={css.small}>{formatShare(probability)}</span>
                    </td>
                  ))}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}
