import { useCallback, useRef } from 'react';
import { useStore } from '../store/store';

/**
 * For dialogs that no single button opens: the focus goes back to where it was before, or to the message field if that
 * place is gone. A focus that has already moved on by itself (a chat was chosen) stays.
 */
export function useReturnFocus(focusFirst: (event: Event) => void) {
  const before = useRef<Element | null>(null);
  const onOpenAutoFocus = useCallback(
    (event: Event): void => {
      before.current = document.activeElement;
      focusFirst(event);
    },
    [focusFirst],
  );
  const onCloseAutoFocus = useCallback((event: Event): void => {
    event.preventDefault();
    const target = before.current;
    before.current = null;
    const active = document.activeElement;
    if (active && active !== document.body) return;
    if (target instanceof HTMLElement && target.isConnected && target !== document.body) target.focus();
    else useStore.getState().wishFocus('composer');
  }, []);
  return { onOpenAutoFocus, onCloseAutoFocus };
}
