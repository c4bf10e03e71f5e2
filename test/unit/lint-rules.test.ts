import path from 'node:path';
import { ESLint } from 'eslint';
import { describe, expect, it } from 'vitest';

const root = path.resolve(__dirname, '../..');
const eslint = new ESLint({ cwd: root });

const boundaryRules = ['no-restricted-imports', 'no-restricted-syntax'];

/** The boundary rules that a text breaks when it stands in `file`. */
async function broken(file: string, text: string): Promise<string[]> {
  const [result] = await eslint.lintText(text, { filePath: path.join(root, file) });
  const parsing = result?.messages.filter((message) => message.fatal) ?? [];
  expect(parsing, 'the fixture must parse').toEqual([]);
  const rules = result?.messages.map((message) => message.ruleId ?? '') ?? [];
  return [...new Set(rules.filter((rule) => boundaryRules.includes(rule)))];
}

const imports = ['no-restricted-imports'];
const syntax = ['no-restricted-syntax'];

const forbidden: [name: string, file: string, text: string, rules: string[]][] = [
  ['electron in plain Node code', 'electron/models/x.ts', "import { app } from 'electron';", imports],
  ['a type of electron in plain Node code', 'electron/chats/x.ts', "import type { App } from 'electron';", imports],
  ['a subpath of electron', 'electron/cli/x.ts', "import { app } from 'electron/main';", imports],
  ['electron in the engine process', 'electron/engine/worker.ts', "import { app } from 'electron';", imports],
  ['re-exporting electron', 'electron/models/x.ts', "export { app } from 'electron';", imports],
  ['loading electron dynamically', 'electron/models/x.ts', "void import('electron');", syntax],
  ['requiring electron', 'electron/models/x.ts', "require('electron');", syntax],
  ['the renderer from electron/', 'electron/main.ts', "import { x } from '../renderer/api';", imports],

  ['main code in the renderer', 'renderer/App.tsx', "import { x } from '../electron/chats/store';", imports],
  ['main code deep in the renderer', 'renderer/store/x.ts', "import { x } from '../../electron/paths';", imports],
  ['a folder that only begins like contract', 'renderer/x.ts', "import { x } from '../electron/contracts';", imports],
  ['electron in the renderer', 'renderer/x.ts', "import { ipcRenderer } from 'electron';", [...imports, ...syntax]],
  ['Node in the renderer', 'renderer/x.ts', "import { readFile } from 'node:fs/promises';", imports],
  ['Node by its bare name in the renderer', 'renderer/x.ts', "import fs from 'fs';", imports],

  ['a package in the contract', 'electron/contract/x.ts', "import { x } from 'undici';", imports],
  ['Node in the contract', 'electron/contract/x.ts', "import fs from 'node:fs';", imports],
  ['the rest of electron/ in the contract', 'electron/contract/x.ts', "import { x } from '../paths';", imports],

  ['ipcMain outside the router', 'electron/main.ts', "import { ipcMain } from 'electron';", syntax],
  ['ipcMain in a handler file', 'electron/ipc/chat.ts', "import { ipcMain } from 'electron';", syntax],
  ['ipcMain by property', 'electron/window.ts', "import * as e from 'electron'; e.ipcMain.on('x', f);", syntax],
  ['ipcMain by string', 'electron/window.ts', "import * as e from 'electron'; e['ipcMain'].on('x', f);", syntax],
  ['ipcRenderer in main', 'electron/main.ts', "import { ipcRenderer } from 'electron';", syntax],
  ['ipcRenderer in the router', 'electron/ipc/router.ts', "import { ipcRenderer } from 'electron';", syntax],
  ['ipcMain in the preload', 'electron/preload.ts', "import { ipcMain } from 'electron';", syntax],

  ['window.api in a component', 'renderer/components/X.tsx', 'window.api.app.info();', syntax],
  ['globalThis.api', 'renderer/store/x.ts', 'globalThis.api.app.info();', syntax],
  ['window["api"]', 'renderer/store/x.ts', "window['api'].app.info();", syntax],
  ['destructured window.api', 'renderer/store/x.ts', 'const { api } = window; void api;', syntax],

  ['chance in the canvas', 'renderer/canvas/x.ts', 'export const x = Math.random();', syntax],
  ['chance in a panel', 'renderer/components/ActivationPanel.tsx', 'export const x = Math.random();', syntax],
  ['chance in the logic of the panel', 'renderer/activity/x.ts', 'export const x = Math.random();', syntax],
  ['chance in its worker', 'renderer/canvas/x.worker.ts', 'crypto.getRandomValues(new Uint8Array(1));', syntax],
  ['chance by string', 'renderer/canvas/x.ts', "export const x = Math['random']();", syntax],
];

const allowed: [name: string, file: string, text: string][] = [
  ['electron in main', 'electron/main.ts', "import { app } from 'electron';"],
  ['electron in the window code', 'electron/window.ts', "import { BrowserWindow } from 'electron';"],
  ['electron in the engine’s host', 'electron/engine/host.ts', "import { utilityProcess } from 'electron';"],
  ['ipcMain in the router', 'electron/ipc/router.ts', "import { ipcMain } from 'electron';"],
  ['ipcRenderer in the preload', 'electron/preload.ts', "import { ipcRenderer } from 'electron';"],
  ['the contract in the renderer', 'renderer/store/x.ts', "import { verbs } from '../../electron/contract/channels';"],
  ['window.api in api.ts', 'renderer/api.ts', 'export const api = window.api;'],
  ['other properties of window', 'renderer/store/x.ts', 'window.close();'],
  ['zod and siblings in the contract', 'electron/contract/x.ts', "import { z } from 'zod'; import { y } from './y';"],
  ['a package whose name begins like electron', 'electron/models/x.ts', "import x from 'electron-log';"],
  ['Node in plain Node code', 'electron/models/x.ts', "import fs from 'node:fs';"],
];

describe('the boundaries that lint guards', () => {
  it.each(forbidden)('refuses %s', async (_name, file, text, rules) => {
    expect((await broken(file, text)).sort()).toEqual([...rules].sort());
  });

  it.each(allowed)('allows %s', async (_name, file, text) => {
    expect(await broken(file, text)).toEqual([]);
  });
});
