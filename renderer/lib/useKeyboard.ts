import { useEffect } from 'react';
import { useStore } from '../store/store';
import { commandOf, runCommand } from './commands';

/** Shortcuts that work everywhere in the window. Keys of one control (rename, send) are handled there. */
export function handleKey(event: KeyboardEvent): void {
  if (event.defaultPrevented || event.isComposing) return;
  const command = commandOf(event);
  if (command) {
    event.preventDefault();
    if (!event.repeat) runCommand(command, 'page');
    return;
  }
  // Dialogs, menus and popovers take Escape for themselves (and prevent the default); what is left stops the reply.
  if (event.key === 'Escape' && useStore.getState().stop()) event.preventDefault();
}

export function useKeyboard(): void {
  useEffect(() => {
    window.addEventListener('keydown', handleKey);
    return () => window.removeEventListener('keydown', handleKey);
  }, []);
}
