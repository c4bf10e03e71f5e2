import { BrowserWindow } from 'electron';
import type { ErrorBody } from '../contract/errors';
import { problemUrl } from './problemPage';

/** A start that cannot go on: a window that only says why. Closing it ends the app. */
export function showProblem(problem: ErrorBody): BrowserWindow {
  const window = new BrowserWindow({
    width: 640,
    height: 420,
    title: 'Hunch',
    webPreferences: { sandbox: true, contextIsolation: true, nodeIntegration: false, javascript: false },
  });
  window.removeMenu();
  void window.loadURL(problemUrl(problem));
  return window;
}
