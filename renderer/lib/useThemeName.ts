import { useSyncExternalStore } from 'react';
import { useStore } from '../store/store';

const query = '(prefers-color-scheme: dark)';

function subscribe(changed: () => void): () => void {
  const media = window.matchMedia(query);
  media.addEventListener('change', changed);
  return () => media.removeEventListener('change', changed);
}

/** The theme that is seen, for what is drawn without a stylesheet. */
export function useThemeName(): 'light' | 'dark' {
  const chosen = useStore((s) => s.settings?.theme ?? 'system');
  const dark = useSyncExternalStore(subscribe, () => window.matchMedia(query).matches);
  return chosen === 'system' ? (dark ? 'dark' : 'light') : chosen;
}
