import { useEffect } from 'react';
import { useStore } from '../store/store';

/** Puts the chosen theme on <html>; without the attribute the stylesheet follows the system. */
export function useTheme(): void {
  const theme = useStore((s) => s.settings?.theme ?? 'system');
  useEffect(() => {
    if (theme === 'system') delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  }, [theme]);
}
