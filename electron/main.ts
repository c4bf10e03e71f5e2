import { existsSync } from 'node:fs';
import path from 'node:path';
import { app, Menu, MessageChannelMain, shell, utilityProcess, type BrowserWindow } from 'electron';
import type { ReplyStream } from './chats/replies';
import { eventChannel, replyPortChannel } from './contract/channels';
import type { AppInfo } from './contract/entities';
import { HunchError } from './contract/errors';
import type { AppEvent } from './contract/events';
import { fromUtilityProcess } from './engine/transport';
import { errorBody } from './errorBody';
import { createDispatch } from './ipc/dispatch';
import { route } from './ipc/router';
import { openLog } from './log';
import { buildMenu } from './menu';
import { dataFolder, modelsFolder } from './paths';
import { createServices } from './services';
import { applyTheme, focusWindow, openWindow } from './window';
import { declareAppScheme, serveAppScheme } from './window/appScheme';
import { isOwnUrl } from './window/assets';
import { createDialogs } from './window/dialogs';
import { showProblem } from './window/problem';
import { confineContents, denyPermissions } from './window/security';

/** The desktop shell around services.ts: window, menu, dialogs, the engine's process. */
const home = dataFolder();
const log = openLog(path.join(home, 'hunch.log'));
const beside = (...names: string[]): string => path.join(__dirname, ...names);
const page = beside('..', 'renderer');

let window: BrowserWindow | null = null;

process.on('uncaughtException', (error) => log(`main: ${error.stack ?? error.message}`));
process.on('unhandledRejection', (error) => log(`main: ${error instanceof Error ? error.stack : String(error)}`));

// Root has no sandbox (Chromium refuses it), and says so with this switch.
if (!app.commandLine.hasSwitch('no-sandbox')) app.enableSandbox();
app.setPath('userData', path.join(home, 'electron'));
declareAppScheme();
confineContents();
app.on('window-all-closed', () => app.quit());

// The lock belongs to the data folder: two processes must not write one set of chats.
if (app.requestSingleInstanceLock()) {
  app.on('second-instance', () => window && focusWindow(window));
  void app.whenReady().then(start);
} else {
  log('start: Hunch is already open on this data folder; its window comes to the front.');
  app.exit(0);
}

function start(): void {
  denyPermissions();
  serveAppScheme(page);
  try {
    if (!existsSync(path.join(page, 'index.html'))) {
      throw new HunchError(
        'internal',
        `The window's files are missing (${page}). Install Hunch again, or run npm run build.`,
      );
    }
    openHunch();
  } catch (error) {
    const problem = errorBody(error, log);
    log(`start: ${problem.code}: ${problem.message}`);
    Menu.setApplicationMenu(null);
    window = showProblem(problem);
  }
}

function openHunch(): void {
  const dialogs = createDialogs(() => window);
  const services = createServices({
    ...dialogs,
    info: appInfo(),
    fork: () => fromUtilityProcess(utilityProcess.fork(beside('worker.cjs'), [], { serviceName: 'Hunch engine' })),
    broadcast,
    openStream,
    applyTheme,
    openExternal: (url) => shell.openExternal(url),
    log,
  });
  route(createDispatch(services.handlers, isOwnUrl, log), () => window?.webContents ?? null);
  Menu.setApplicationMenu(buildMenu((command) => broadcast({ type: 'command', command })));
  window = openWindow({
    preload: beside('preload.cjs'),
    statePath: path.join(home, 'window.json'),
    theme: services.settings.get().theme,
    log,
  });
  window.once('closed', () => {
    window = null;
    services.pageGone();
  });
  window.webContents.on('did-start-navigation', (_event, _url, isInPlace, isMainFrame) => {
    if (isMainFrame && !isInPlace) services.pageGone();
  });
  window.webContents.on('render-process-gone', () => services.pageGone());
  app.once('will-quit', () => services.close());
  // The model loads while the page does.
  services.begin();
  for (const { message } of services.notices) log(`start: ${message}`);
  void dialogs.tell(services.notices);
}

function broadcast(event: AppEvent): void {
  if (window && !window.isDestroyed()) window.webContents.send(eventChannel, event);
}

/** One MessagePort per reply; its other end waits in the preload, which closes it after `done`. */
function openStream(replyId: string): ReplyStream {
  const { port1, port2 } = new MessageChannelMain();
  window?.webContents.postMessage(replyPortChannel, { replyId }, [port2]);
  return (event) => port1.postMessage(event);
}

function appInfo(): AppInfo {
  const { electron = '', chrome = '', node } = process.versions;
  const folders = { dataFolder: home, modelsFolder: modelsFolder() };
  return { version: app.getVersion(), electron, chromium: chrome, node, platform: process.platform, ...folders };
}
