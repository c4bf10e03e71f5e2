import type { AppCommand } from '../../electron/contract/events';
import { useStore } from '../store/store';

type Source = 'menu' | 'page';

/**
 * A shortcut can reach us twice: as the page's keydown and as the menu's accelerator. The page prevents the default, which
 * keeps the menu quiet on most platforms; where it does not, the second one within this time is the same key press.
 */
const echoMs = 250;
let last: { command: AppCommand; source: Source; at: number } | null = null;

export function runCommand(command: AppCommand, source: Source): void {
  const at = performance.now();
  const echo = last && last.command === command && last.source !== source && at - last.at < echoMs;
  last = { command, source, at };
  if (echo) return;

  const s = useStore.getState();
  // Behind an open dialog nothing moves, except the dialog itself.
  if (s.settingsOpen && command !== 'open-settings') return;
  switch (command) {
    case 'new-chat':
      return s.newChat();
    case 'toggle-sidebar':
      return s.toggleSidebar();
    case 'toggle-panel':
      return s.togglePanel();
    case 'toggle-activity':
      return s.toggleActivity();
    case 'open-settings':
      return s.setSettingsOpen(true);
    case 'search':
      return s.focusSearch();
    case 'stop':
      s.stop();
      return;
  }
}

/** The command of a key press, or null. Ctrl on Windows and Linux, Command on macOS. */
export function commandOf(
  event: Pick<KeyboardEvent, 'key' | 'ctrlKey' | 'metaKey' | 'shiftKey' | 'altKey'>,
): AppCommand | null {
  if (event.altKey || !(event.ctrlKey || event.metaKey)) return null;
  const key = event.key.toLowerCase();
  if (event.shiftKey) return null;
  if (key === 'n') return 'new-chat';
  if (key === 'b') return 'toggle-sidebar';
  if (key === '.') return 'toggle-panel';
  if (key === 'j') return 'toggle-activity';
  if (key === ',') return 'open-settings';
  if (key === 'k' || key === 'f') return 'search';
  return null;
}
