import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { settingsSchema } from '../../../electron/contract/entities';
import { defaultSettings, SettingsFile } from '../../../electron/settings';

let folder: string;
let file: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hunch-settings-'));
  file = path.join(folder, 'settings.json');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (content: unknown): void =>
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
const stored = (): Record<string, unknown> => JSON.parse(readFileSync(file, 'utf8'));

describe('settings', () => {
  it('have defaults that fit their own schema, and need no file', () => {
    expect(settingsSchema.parse(defaultSettings)).toEqual(defaultSettings);
    const settings = new SettingsFile(file);
    expect(settings.get()).toEqual(defaultSettings);
    expect(settings.notices).toEqual([]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('are saved at once and read back', () => {
    const settings = new SettingsFile(file);
    expect(settings.set({ theme: 'dark', threads: 3 })).toMatchObject({ theme: 'dark', threads: 3, sidebarOpen: true });
    expect(new SettingsFile(file).get()).toEqual(settings.get());
    expect(readdirSync(folder)).toEqual(['settings.json']);
  });

  it('replace a value that does not fit by its default, alone, and name it', () => {
    write({
      theme: 'dark',
      threads: 'many',
      contextLength: 100,
      defaultSampling: { temperature: 99 },
      panelOpen: true,
    });
    const settings = new SettingsFile(file);
    expect(settings.get()).toEqual({ ...defaultSettings, theme: 'dark', panelOpen: true });
    expect(settings.notices.map((notice) => /“(\w+)”/.exec(notice.message)![1])).toEqual([
      'threads',
      'contextLength',
      'defaultSampling',
    ]);
    expect(settings.notices[0]!.message).toMatch(/default is used/);
  });

  it('keep keys of a newer version', () => {
    write({ theme: 'light', telepathy: { on: true } });
    const settings = new SettingsFile(file);
    expect(settings.notices).toEqual([]);
    settings.set({ theme: 'dark' });
    expect(stored()).toMatchObject({ theme: 'dark', telepathy: { on: true } });
  });

  it.each(['', '{"theme": "dark"', 'null', '[]', '"text"', '\u0000\u0001'])(
    'keep a file that is not settings aside: %j',
    (content) => {
      write(content);
      const settings = new SettingsFile(file, () => new Date('2026-01-02T03:04:05.678Z'));
      const aside = `${file}.damaged-2026-01-02T03-04-05-678Z`;
      expect(settings.get()).toEqual(defaultSettings);
      expect(settings.notices).toEqual([expect.objectContaining({ message: expect.stringContaining(aside) })]);
      expect(readFileSync(aside, 'utf8')).toBe(content);
      settings.set({ theme: 'dark' });
      expect(new SettingsFile(file).notices).toEqual([]);
    },
  );

  it('refuse values that do not fit and change nothing', () => {
    const settings = new SettingsFile(file);
    settings.set({ theme: 'dark' });
    expect(() => settings.set({ threads: -1 })).toThrow();
    expect(settings.get()).toMatchObject({ theme: 'dark', threads: 0 });
    expect(stored()).toMatchObject({ theme: 'dark', threads: 0 });
  });

  it('keep the old file and the old values when they cannot be saved', () => {
    const settings = new SettingsFile(file);
    settings.set({ theme: 'dark' });
    // Root may write anywhere, so permissions would not stop it: a file where a folder is needed does.
    const blocked = new SettingsFile(path.join(file, 'settings.json'));
    expect(() => blocked.set({ theme: 'light' })).toThrow(
      expect.objectContaining({ code: 'internal', message: expect.stringContaining(file) }),
    );
    expect(blocked.get().theme).toBe('system');
    expect(stored()).toMatchObject({ theme: 'dark' });
  });
});
