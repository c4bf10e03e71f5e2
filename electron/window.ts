import path from 'node:path';
import { BrowserWindow, nativeTheme, screen } from 'electron';
import type { Settings } from './contract/entities';
import { appOrigin } from './window/assets';
import { minimumSize, placeWindow, readWindowState, saveWindowState } from './window/state';

/** The page's background (renderer/styles/tokens.css, --bg), so that the window does not flash before the page is drawn. */
const backgrounds = { light: '#fdfdfc', dark: '#17181a' };

export interface WindowOptions {
  preload: string;
  /** Where the window's place is kept. */
  statePath: string;
  theme: Settings['theme'];
  log(line: string): void;
}

/** Opens the one window. It appears once its first frame is drawn. */
export function openWindow(options: WindowOptions): BrowserWindow {
  applyTheme(options.theme);
  const screens = screen.getAllDisplays().map((display) => display.workArea);
  const { maximized, ...bounds } = placeWindow(readWindowState(options.statePath), screens);
  const window = new BrowserWindow({
    ...bounds,
    minWidth: minimumSize.width,
    minHeight: minimumSize.height,
    title: 'Hunch',
    show: false,
    backgroundColor: nativeTheme.shouldUseDarkColors ? backgrounds.dark : backgrounds.light,
    webPreferences: {
      preload: path.resolve(options.preload),
      contextIsolation: true,
      sandbox: true,
      nodeIntegration: false,
      nodeIntegrationInWorker: false,
      nodeIntegrationInSubFrames: false,
      webviewTag: false,
      spellcheck: false,
    },
  });
  window.once('ready-to-show', () => {
    if (maximized) window.maximize();
    window.show();
  });
  window.on('close', () => {
    saveWindowState(options.statePath, { ...window.getNormalBounds(), maximized: window.isMaximized() });
  });
  reloadAfterCrash(window, options.log);
  void window.loadURL(`${appOrigin}/index.html`);
  return window;
}

export function applyTheme(theme: Settings['theme']): void {
  nativeTheme.themeSource = theme;
}

/** A second start of the app, or a click on its dock icon. */
export function focusWindow(window: BrowserWindow): void {
  if (window.isMinimized()) window.restore();
  window.show();
  window.focus();
}

/** Chats live in the main process, so a page that died is simply loaded again; not endlessly, if it dies while loading. */
function reloadAfterCrash(window: BrowserWindow, log: (line: string) => void): void {
  let lastCrash = 0;
  window.webContents.on('render-process-gone', (_event, details) => {
    log(`window: page process gone (${details.reason}, code ${details.exitCode})`);
    const again = Date.now() - lastCrash < 10_000;
    lastCrash = Date.now();
    if (details.reason !== 'clean-exit' && !again) window.webContents.reload();
  });
}
