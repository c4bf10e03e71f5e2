import { useMemo } from 'react';
import { commonPrefix, identical, tokenDiff } from '../../activity/difference';
import type { Source } from '../../activity/source';
import css from './Activity.module.css';

/** How the text of B differs from that of A, token by token. */
export function TextDiff({ a, b }: { a: Source; b: Source }) {
  const [first, second] = [a.track.length, b.track.length];
  const changes = useMemo(
    () => tokenDiff(a.track.tokens, b.track.tokens),
    // Tracks change inside: their lengths say when.
    // eslint-disable-next-line react-hooks/exhaustive-deps
    [a, b, first, second],
  );
  if (identical(a.track.tokens, b.track.tokens)) {
    return (
      <p className={css.note}>
        <strong className={css.ok}>Identical</strong>: all {first} tokens are the same.
      </p>
    );
  }
  const same = commonPrefix(a.track.tokens, b.track.tokens);
  return (
    <div>
      <p className={css.note}>The first {same} tokens are the same. Struck out: only in A; underlined: only in B.</p>
      <div className={css.diff} tabIndex={0} role="region" aria-label="Text difference">
        {changes.map(({ kind, tokens }, i) => {
          const text = tokens.map((token) => token.text).join('');
          if (kind === 'same') return <span key={i}>{text}</span>;
          return kind === 'removed' ? <del key={i}>{text}</del> : <ins key={i}>{text}</ins>;
        })}
      </div>
    </div>
  );
}
