import type { MouseEvent, ReactNode } from 'react';
import { api } from '../api';
import { useStore } from '../store/store';

/** A link of the model's. It never navigates the window: the main process asks, then opens the person's browser. */
export function SafeLink({ href, children }: { href: string | undefined; children: ReactNode }) {
  if (!href) return <span>{children}</span>;

  const follow = (event: MouseEvent<HTMLAnchorElement>): void => {
    event.preventDefault();
    if (href.startsWith('#')) {
      const scope = event.currentTarget.closest('article') ?? document;
      scope.querySelector(`[id="${CSS.escape(href.slice(1))}"]`)?.scrollIntoView({ block: 'center' });
      return;
    }
    api.app.openLink(href).catch(useStore.getState().report);
  };
  return (
    <a
      href={href}
      title={href.startsWith('#') ? undefined : href}
      draggable={false}
      rel="noreferrer noopener"
      onClick={follow}
      onAuxClick={(event) => event.preventDefault()}
    >
      {children}
    </a>
  );
}
