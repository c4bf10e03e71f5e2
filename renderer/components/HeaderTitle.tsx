import { useEffect } from 'react';
import { useStore } from '../store/store';
import css from './Header.module.css';

/** The chat's title, which the window carries too. */
export function HeaderTitle() {
  const title = useStore((s) => (s.activeId ? s.summaries[s.activeId]?.title : undefined));
  useEffect(() => {
    document.title = title ? `${title} – Hunch` : 'Hunch';
  }, [title]);
  return (
    <h1 className={css.title} title={title}>
      {title ?? 'New chat'}
    </h1>
  );
}
