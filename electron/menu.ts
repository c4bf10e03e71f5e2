import { Menu, type MenuItemConstructorOptions } from 'electron';
import type { AppCommand } from './contract/events';

const isMac = process.platform === 'darwin';

/** The application menu. Its own items only send a command to the page, which knows what they mean there. */
export function buildMenu(send: (command: AppCommand) => void): Menu {
  const item = (label: string, command: AppCommand, accelerator: string): MenuItemConstructorOptions => ({
    label,
    accelerator,
    click: () => send(command),
  });
  const settings = item('Settings…', 'open-settings', 'CmdOrCtrl+,');
  const appMenu: MenuItemConstructorOptions[] = [
    {
      role: 'appMenu',
      submenu: [
        { role: 'about' },
        { type: 'separator' },
        settings,
        { type: 'separator' },
        { role: 'hide' },
        { role: 'hideOthers' },
        { role: 'unhide' },
        { type: 'separator' },
        { role: 'quit' },
      ],
    },
  ];
  return Menu.buildFromTemplate([
    ...(isMac ? appMenu : []),
    {
      label: '&File',
      submenu: [
        item('New Chat', 'new-chat', 'CmdOrCtrl+N'),
        // Shown, not bound: the page decides what Escape means (close a dialog first, then stop).
        { ...item('Stop Reply', 'stop', 'Escape'), registerAccelerator: false },
        { type: 'separator' },
        ...(isMac ? [] : [settings, { type: 'separator' } as const]),
        isMac ? { role: 'close' } : { role: 'quit' },
      ],
    },
    {
      label: '&Edit',
      submenu: [
        { role: 'undo' },
        { role: 'redo' },
        { type: 'separator' },
        { role: 'cut' },
        { role: 'copy' },
        { role: 'paste' },
        { role: 'selectAll' },
        { type: 'separator' },
        item('Search Chats', 'search', 'CmdOrCtrl+F'),
      ],
    },
    {
      label: '&View',
      submenu: [
        item('Sidebar', 'toggle-sidebar', 'CmdOrCtrl+B'),
        item('Chat Settings', 'toggle-panel', 'CmdOrCtrl+.'),
        item('Activations', 'toggle-activity', 'CmdOrCtrl+J'),
        { type: 'separator' },
        { role: 'resetZoom' },
        { role: 'zoomIn' },
        { role: 'zoomOut' },
        { type: 'separator' },
        { role: 'togglefullscreen' },
        { role: 'toggleDevTools' },
      ],
    },
    { role: 'windowMenu' },
  ]);
}
