import { readFileSync } from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from '@photostructure/sqlite';
import { describe, expect, it } from 'vitest';
import { migrate, migrations, schemaVersion, userVersion } from '../../../electron/chats/migrations';
import { defaultSparsity } from '../../../electron/contract/sparsity';
import { defaults, openStore, temporaryFolder } from './helpers';

/** What a Hunch of each version could have left behind; `sql` runs against that version's schema. Never edit a released one. */
const leftBehind = [
  { version: 0, sql: '' },
  {
    version: 1,
    sql: `
      INSERT INTO chats (id, title, created_at, updated_at, system_prompt, sampling) VALUES ('c', 'Old chat', 1, 2, 'Be kind.', '{"temperature":0.3}');
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('q', 'c', NULL, 'user', 'an old question', 'complete', 3);
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('a', 'c', 'q', 'assistant', 'an old answer', 'streaming', 4);
      UPDATE chats SET leaf_id = 'a';`,
  },
  {
    version: 2,
    sql: `
      INSERT INTO chats (id, title, created_at, updated_at, system_prompt, sampling) VALUES ('c', 'Old chat', 1, 2, 'Be kind.', '{"temperature":0.3}');
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('q', 'c', NULL, 'user', 'an old question', 'complete', 3);
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('a', 'c', 'q', 'assistant', 'an old answer', 'streaming', 4);
      UPDATE chats SET leaf_id = 'a';`,
  },
  {
    version: 3,
    sql: `
      INSERT INTO chats (id, title, created_at, updated_at, system_prompt, sampling, sparsity) VALUES ('c', 'Old chat', 1, 2, 'Be kind.', '{"temperature":0.3}', '{"position":0.6,"correction":true,"speculation":false}');
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('q', 'c', NULL, 'user', 'an old question', 'complete', 3);
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('a', 'c', 'q', 'assistant', 'an old answer', 'streaming', 4);
      UPDATE chats SET leaf_id = 'a';`,
  },
  {
    version: 4,
    sql: `
      INSERT INTO chats (id, title, created_at, updated_at, system_prompt, sampling, sparsity) VALUES ('c', 'Old chat', 1, 2, 'Be kind.', '{"temperature":0.3}', '{"position":0.6,"correction":true,"speculation":false}');
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('q', 'c', NULL, 'user', 'an old question', 'complete', 3);
      INSERT INTO messages (id, chat_id, parent_id, role, text, status, created_at) VALUES ('a', 'c', 'q', 'assistant', 'an old answer', 'streaming', 4);
      INSERT INTO activity (message_id, chunk, first_token, count, tokens, frames, bytes) VALUES ('a', 0, 0, 1, '[[7,"an"]]', x'0300', 2);
      INSERT INTO activity_origins (message_id, model_hash, version) VALUES ('a', 'beef', '0.1.0');
      UPDATE chats SET leaf_id = 'a';`,
  },
];

describe('migrations', () => {
  it('are numbered without gaps, and each version has its sample here', () => {
    expect(migrations.map((migration) => migration.version)).toEqual(migrations.map((_, i) => i + 1));
    expect(leftBehind.map((sample) => sample.version)).toEqual([
      0,
      ...migrations.map((migration) => migration.version),
    ]);
  });

  it.each(leftBehind)('brings version $version up to date with its data', ({ version, sql }) => {
    const file = path.join(temporaryFolder(), 'hunch.db');
    const old = new DatabaseSync(file);
    migrate(old, version);
    old.exec(sql);
    expect(userVersion(old)).toBe(version);
    old.close();

    const { store, db } = openStore(file);
    store.settle();
    expect(userVersion(db)).toBe(schemaVersion);
    if (version === 0) return expect(store.list()).toEqual([]);
    expect(store.withMessages('c')).toMatchObject({
      title: 'Old chat',
      systemPrompt: 'Be kind.',
      sampling: { temperature: 0.3 },
      sparsity: version < 3 ? defaultSparsity : { position: 0.6, correction: true, speculation: false },
      messages: [
        { text: 'an old question', status: 'complete' },
        { text: 'an old answer', status: 'interrupted' },
      ],
    });
    expect(store.search('question').map((chat) => chat.id)).toEqual(['c']);
    expect(store.search('answer').map((chat) => chat.id)).toEqual(['c']);
    db.exec("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)");
  });

  it('end in the same schema from every version', () => {
    const schemas = leftBehind.map(({ version }) => {
      const db = new DatabaseSync(':memory:');
      migrate(db, version);
      migrate(db);
      return JSON.stringify(db.prepare('SELECT type, name, sql FROM sqlite_schema ORDER BY name').all());
    });
    expect(new Set(schemas).size).toBe(1);
  });

  it('leave the version before when a step fails', () => {
    const db = new DatabaseSync(':memory:');
    migrate(db, 1);
    db.exec('CREATE TABLE message_search (in_the_way INTEGER)');
    expect(() => migrate(db)).toThrow(/already exists/);
    expect(userVersion(db)).toBe(1);
    expect(db.prepare("SELECT count(*) AS n FROM sqlite_schema WHERE name = 'chat_search'").get()).toEqual({ n: 0 });
    db.exec('DROP TABLE message_search');
    migrate(db);
    expect(userVersion(db)).toBe(schemaVersion);
  });

  it('do nothing to a database that is up to date', () => {
    const { store, file } = openStore();
    store.create(defaults);
    store.close();
    const before = readFileSync(file);
    openStore(file).store.close();
    expect(readFileSync(file).equals(before)).toBe(true);
  });
});
