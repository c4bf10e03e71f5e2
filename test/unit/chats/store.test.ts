import { describe, expect, it } from 'vitest';
import { defaultSampling } from '../../../electron/contract/entities';
import { untitled } from '../../../electron/chats/store';
import { defaults, message, openStore } from './helpers';

/** question → two answers; the second goes on: q2 → a3 */
function tree(store: ReturnType<typeof openStore>['store']) {
  const chat = store.create(defaults);
  const q1 = message('user', null, 'What is the capital of France?');
  const a1 = message('assistant', q1.id, 'Lyon.');
  const a2 = message('assistant', q1.id, 'Paris.');
  const q2 = message('user', a2.id, 'And of Spain?');
  const a3 = message('assistant', q2.id, 'Madrid.');
  for (const one of [q1, a1, a2, q2, a3]) store.append(chat.id, [one]);
  return { chatId: chat.id, q1, a1, a2, q2, a3 };
}

describe('chats', () => {
  it('starts with the defaults it is given and keeps them over a restart', () => {
    const { store, file } = openStore();
    const sampling = { ...defaultSampling, temperature: 0, seed: 7 };
    const sparsity = { position: 0.6, correction: true, speculation: false };
    const chat = store.create({ systemPrompt: 'Be brief.', sampling, sparsity });
    store.close();
    const again = openStore(file).store.chat(chat.id);
    expect(again).toEqual({
      ...chat,
      title: untitled,
      systemPrompt: 'Be brief.',
      sampling,
      sparsity,
      modelId: null,
      leafId: null,
    });
  });

  it('lists the chat with the newest message first', () => {
    let time = 1000;
    const { store } = openStore(undefined, () => time);
    const first = store.create(defaults);
    time = 2000;
    const second = store.create(defaults);
    expect(store.list().map((chat) => chat.id)).toEqual([second.id, first.id]);
    time = 3000;
    store.append(first.id, [message('user', null, 'hello')]);
    expect(store.list().map((chat) => chat.id)).toEqual([first.id, second.id]);
    expect(store.list()[0]!.updatedAt).toBe(3000);
  });

  it('changes only what is named', () => {
    const { store } = openStore();
    const chat = store.create({ ...defaults, systemPrompt: 'old' });
    store.change(chat.id, { title: 'Renamed' });
    store.change(chat.id, { modelId: 'some-model' });
    const sparsity = { position: 1, correction: false, speculation: true };
    store.change(chat.id, { sparsity });
    expect(store.change(chat.id, {})).toMatchObject({
      title: 'Renamed',
      modelId: 'some-model',
      systemPrompt: 'old',
      sparsity,
    });
    expect(store.change(chat.id, { modelId: null, systemPrompt: '' })).toMatchObject({
      modelId: null,
      systemPrompt: '',
    });
  });

  it('reads a chat whose settings were spoilt by hand with defaults in their place', () => {
    const { store, db } = openStore();
    const chat = store.create({ ...defaults, sparsity: { position: 0.6, correction: true, speculation: false } });
    const put = (sparsity: string): void => void db.prepare('UPDATE chats SET sparsity = ?').run(sparsity);
    put('{"position":7,"correction":true}');
    expect(store.chat(chat.id).sparsity).toEqual({ ...defaults.sparsity, correction: true });
    for (const spoilt of ['null', '[]', '7', 'not JSON']) {
      put(spoilt);
      expect(store.chat(chat.id).sparsity, spoilt).toEqual(defaults.sparsity);
    }
  });

  it('hides a removed chat, restores it, and purges it at the next start', () => {
    const { store, file, db } = openStore();
    const { chatId } = tree(store);
    const other = store.create(defaults);
    store.remove(chatId);
    expect(store.list().map((chat) => chat.id)).toEqual([other.id]);
    expect(() => store.chat(chatId)).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(() => store.remove(chatId)).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(store.restore(chatId).id).toBe(chatId);
    expect(store.withMessages(chatId).messages).toHaveLength(4);

    store.remove(chatId);
    expect(db.prepare('SELECT count(*) AS n FROM messages').get()).toEqual({ n: 5 });
    store.close();
    const next = openStore(file);
    next.store.settle();
    expect(() => next.store.restore(chatId)).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(next.db.prepare('SELECT count(*) AS n FROM messages').get()).toEqual({ n: 0 });
    expect(next.store.list()).toHaveLength(1);
  });

  it('gives defaults to sampling keys that do not fit', () => {
    const { store, db } = openStore();
    const chat = store.create(defaults);
    db.prepare('UPDATE chats SET sampling = ?').run('{"temperature":0.2,"topK":"many"}');
    expect(store.chat(chat.id).sampling).toEqual({ ...defaultSampling, temperature: 0.2 });
    db.prepare('UPDATE chats SET sampling = ?').run('not json');
    expect(store.chat(chat.id).sampling).toEqual(defaultSampling);
  });
});

describe('the tree of messages', () => {
  it('shows the branch of the leaf with the siblings of each message', () => {
    const { store } = openStore();
    const { chatId, q1, a1, a2, q2, a3 } = tree(store);
    const { messages, leafId } = store.withMessages(chatId);
    expect(leafId).toBe(a3.id);
    expect(messages.map((one) => one.id)).toEqual([q1.id, a2.id, q2.id, a3.id]);
    expect(messages.map((one) => one.siblings)).toEqual([[q1.id], [a1.id, a2.id], [q2.id], [a3.id]]);
  });

  it('switches branches down to their newest leaf, and back', () => {
    const { store } = openStore();
    const { chatId, q1, a1, a2, a3 } = tree(store);
    expect(store.showBranch(chatId, a1.id).messages.map((one) => one.id)).toEqual([q1.id, a1.id]);
    expect(store.chat(chatId).leafId).toBe(a1.id);
    expect(store.showBranch(chatId, a2.id).leafId).toBe(a3.id);
  });

  it('treats several first messages as siblings of each other only', () => {
    const { store } = openStore();
    const chat = store.create(defaults);
    const first = message('user', null, 'one');
    const edited = message('user', null, 'one, edited');
    store.append(chat.id, [first]);
    store.append(chat.id, [edited]);
    const other = store.create(defaults);
    store.append(other.id, [message('user', null, 'elsewhere')]);
    expect(store.withMessages(chat.id).messages.map((one) => one.siblings)).toEqual([[first.id, edited.id]]);
  });

  it('refuses a branch of another chat', () => {
    const { store } = openStore();
    const { a1 } = tree(store);
    const other = store.create(defaults);
    expect(() => store.showBranch(other.id, a1.id)).toThrow(expect.objectContaining({ code: 'not-found' }));
  });

  it('keeps nothing of an append that fails half-way', () => {
    const { store } = openStore();
    const { chatId, a3 } = tree(store);
    const question = message('user', a3.id, 'kept?');
    const orphan = message('assistant', crypto.randomUUID(), 'no such parent');
    expect(() => store.append(chatId, [question, orphan], 'New title')).toThrow(/FOREIGN KEY/);
    expect(store.message(question.id)).toBeNull();
    expect(store.chat(chatId)).toMatchObject({ leafId: a3.id, title: untitled });
  });

  it('round-trips error, statistics and provenance', () => {
    const { store } = openStore();
    const { a3 } = tree(store);
    const stats = {
      promptTokens: 9,
      cachedTokens: 4,
      generatedTokens: 3,
      timeToFirstTokenMs: 12.5,
      tokensPerSecond: 80,
      stopReason: 'end' as const,
    };
    store.changeMessage(a3.id, {
      text: 'Madrid, of course.',
      status: 'failed',
      error: { code: 'internal', message: 'No.' },
      stats,
    });
    expect(store.message(a3.id)).toMatchObject({
      text: 'Madrid, of course.',
      status: 'failed',
      error: { code: 'internal', message: 'No.' },
      stats,
    });
    store.changeMessage(a3.id, { error: null });
    expect(store.message(a3.id)).toMatchObject({ error: null, status: 'failed', stats });
    expect(() => store.changeMessage(crypto.randomUUID(), { text: '' })).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    );
  });

  it('marks what was streaming when the app died as interrupted, with its text', () => {
    const { store, file } = openStore();
    const chat = store.create(defaults);
    const question = message('user', null, 'Count.');
    const reply = message('assistant', question.id, '', 'streaming');
    store.append(chat.id, [question, reply]);
    store.changeMessage(reply.id, { text: 'one two' });
    store.close();
    const next = openStore(file).store;
    next.settle();
    expect(next.message(reply.id)).toMatchObject({ status: 'interrupted', text: 'one two' });
    expect(next.message(question.id)!.status).toBe('complete');
  });
});
