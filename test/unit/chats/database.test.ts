import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { describe, expect, it } from 'vitest';
import { openDatabase } from '../../../electron/chats/database';
import { schemaVersion } from '../../../electron/chats/migrations';
import { defaults, message, openStore, temporaryFolder } from './helpers';

describe('opening the database', () => {
  it('makes every commit durable', () => {
    const { db } = openStore();
    expect(db.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' });
    expect(db.prepare('PRAGMA synchronous').get()).toEqual({ synchronous: 2 }); // FULL
    expect(db.prepare('PRAGMA foreign_keys').get()).toEqual({ foreign_keys: 1 });
  });

  it('makes the folder', () => {
    const file = path.join(temporaryFolder(), 'deep', 'er', 'hunch.db');
    openStore(file);
    expect(existsSync(file)).toBe(true);
  });

  it('refuses a database of a newer version and leaves the file as it is', () => {
    const { store, file, db } = openStore();
    const chat = store.create(defaults);
    db.exec(`PRAGMA user_version = ${schemaVersion + 1}`);
    store.close();
    const before = readFileSync(file);
    expect(() => openDatabase(file)).toThrow(
      expect.objectContaining({
        code: 'database-newer',
        message: expect.stringMatching(/newer version of Hunch.*Install/),
      }),
    );
    expect(readFileSync(file).equals(before)).toBe(true);
    expect(readdirSync(path.dirname(file)).filter((name) => name.includes('damaged'))).toEqual([]);

    const newer = new DatabaseSync(file);
    expect(newer.prepare('SELECT id FROM chats').get()).toEqual({ id: chat.id });
    newer.close();
  });

  it('sees a newer version that is still in the write-ahead log only', async () => {
    const file = path.join(temporaryFolder(), 'hunch.db');
    openStore(file).store.close();
    const before = readFileSync(file);
    await killedWriter(file, `PRAGMA user_version = ${schemaVersion + 1}`);
    expect(() => openDatabase(file)).toThrow(expect.objectContaining({ code: 'database-newer' }));
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  it.each([
    ['text instead of a database', () => Buffer.from('these are not chats '.repeat(1000))],
    ['a cut header', (whole: Buffer) => whole.subarray(0, 50)],
    [
      'an overwritten schema',
      (whole: Buffer) => Buffer.concat([whole.subarray(0, 100), Buffer.alloc(4096, 7), whole.subarray(4196)]),
    ],
    ['half of the file', (whole: Buffer) => whole.subarray(0, Math.floor(whole.length / 2))],
  ])('keeps a damaged file aside and starts an empty one: %s', (_what, damage) => {
    const { store, file } = openStore();
    const chat = store.create(defaults);
    for (let i = 0; i < 50; i++) store.append(chat.id, [message('user', null, 'text '.repeat(500))]);
    store.close();
    const damaged = damage(readFileSync(file));
    writeFileSync(file, damaged);

    const { db, notice } = openDatabase(file, () => new Date('2026-01-02T03:04:05.678Z'));
    const aside = `${file}.damaged-2026-01-02T03-04-05-678Z`;
    expect(notice).toMatchObject({ code: 'database-corrupt', message: expect.stringContaining(aside) });
    expect(readFileSync(aside).equals(damaged)).toBe(true);
    expect(db.prepare('SELECT count(*) AS n FROM chats').get()).toEqual({ n: 0 });
    db.close();
    expect(openDatabase(file).notice).toBeNull();
  });

  it('says what to do when the place cannot be used', () => {
    const folder = temporaryFolder();
    writeFileSync(path.join(folder, 'file'), '');
    expect(() => openDatabase(path.join(folder, 'file', 'hunch.db'))).toThrow(
      expect.objectContaining({ code: 'internal', message: expect.stringMatching(/cannot be opened.*Check/) }),
    );
    mkdirSync(path.join(folder, 'hunch.db'));
    expect(() => openDatabase(path.join(folder, 'hunch.db'))).toThrow(
      expect.objectContaining({ message: expect.stringContaining('hunch.db') }),
    );
  });

  it('has every committed message after kill -9', async () => {
    const file = path.join(temporaryFolder(), 'hunch.db');
    const { store } = openStore(file);
    const chat = store.create(defaults);
    store.close();
    await killedWriter(
      file,
      `INSERT INTO messages (id, chat_id, role, text, status, created_at) VALUES ('last', '${chat.id}', 'user', 'still here', 'complete', 1)`,
    );
    const next = openStore(file).store;
    expect(next.message('last')).toMatchObject({ text: 'still here', status: 'complete' });
    expect(next.search('still here')).toHaveLength(1);
  });
});

describe('a full disk', () => {
  it('is named, loses nothing that was saved, and works again when there is room', () => {
    const { store, db } = openStore();
    const chat = store.create(defaults);
    const pages = (db.prepare('PRAGMA page_count').get() as { page_count: number }).page_count;
    db.exec(`PRAGMA max_page_count = ${pages + 10}`); // SQLite's own limit gives the very SQLITE_FULL of a full disk
    const saved: string[] = [];
    const fill = (): void => {
      for (;;) {
        const one = message('user', null, 'x'.repeat(4000));
        store.append(chat.id, [one]);
        saved.push(one.id);
      }
    };
    expect(fill).toThrow(
      expect.objectContaining({ code: 'disk-full', message: expect.stringMatching(/full.*Free some space/) }),
    );
    expect(saved.length).toBeGreaterThan(0);
    expect(store.allMessages(chat.id).map((one) => one.id)).toEqual(saved);
    expect(store.chat(chat.id).leafId).toBe(saved[saved.length - 1]);
    db.exec('PRAGMA max_page_count = 1000000');
    store.append(chat.id, [message('user', null, 'room again')]);
    expect(store.allMessages(chat.id)).toHaveLength(saved.length + 1);
  });
});

/** Another process commits `sql` and is killed with the database open. */
async function killedWriter(file: string, sql: string): Promise<void> {
  const script = `
    const { DatabaseSync } = require('@photostructure/sqlite');
    const db = new DatabaseSync(${JSON.stringify(file)});
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;');
    db.exec(${JSON.stringify(sql)});
    console.log('committed');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => reject(new Error('the writer ended early')));
  });
  child.kill('SIGKILL');
  await exited;
}
