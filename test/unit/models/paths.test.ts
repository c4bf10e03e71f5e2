import { expect, it } from 'vitest';
import { dataFolder, modelsFolder } from '../../../electron/paths';

const on = (platform: NodeJS.Platform, env: NodeJS.ProcessEnv = {}) => ({ platform, env, home: '/home/ada' });

it('follows each platform, and HUNCH_HOME before all', () => {
  expect(dataFolder(on('linux'))).toBe('/home/ada/.local/share/hunch');
  expect(dataFolder(on('linux', { XDG_DATA_HOME: '/data' }))).toBe('/data/hunch');
  expect(dataFolder(on('darwin'))).toBe('/home/ada/Library/Application Support/Hunch');
  expect(dataFolder(on('win32', { APPDATA: '/Users/ada/Roaming' }))).toBe('/Users/ada/Roaming/Hunch');
  expect(dataFolder(on('darwin', { HUNCH_HOME: '/elsewhere' }))).toBe('/elsewhere');
});

it('keeps models below it unless HUNCH_MODELS says otherwise', () => {
  expect(modelsFolder(on('linux', { HUNCH_HOME: '/h' }))).toBe('/h/models');
  expect(modelsFolder(on('linux', { HUNCH_HOME: '/h', HUNCH_MODELS: '/m' }))).toBe('/m');
});
