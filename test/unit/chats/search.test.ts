import { describe, expect, it } from 'vitest';
import { defaults, message, openStore } from './helpers';

function chatWith(store: ReturnType<typeof openStore>['store'], title: string, ...texts: string[]): string {
  const chat = store.create(defaults);
  let parent: string | null = null;
  texts.forEach((text, i) => {
    const one = message(i % 2 ? 'assistant' : 'user', parent, text);
    store.append(chat.id, [one]);
    parent = one.id;
  });
  store.change(chat.id, { title });
  return chat.id;
}

describe('search', () => {
  function find(store: ReturnType<typeof openStore>['store'], query: string): string[] {
    return store
      .search(query)
      .map((chat) => chat.title)
      .sort();
  }

  it('finds parts of words in titles and messages, in any case and without accents', () => {
    const { store } = openStore();
    chatWith(store, 'Desserts', 'How do I make crème brûlée?', 'Heat the cream slowly.');
    chatWith(store, 'Geography', 'Capital of France?', 'Paris.');
    expect(find(store, 'brulee')).toEqual(['Desserts']);
    expect(find(store, 'GEOGR')).toEqual(['Geography']);
    expect(find(store, 'ari')).toEqual(['Geography']);
    expect(find(store, 'rea')).toEqual(['Desserts']);
    expect(find(store, 'nothing like this')).toEqual([]);
  });

  it('needs every word, each anywhere in the chat', () => {
    const { store } = openStore();
    chatWith(store, 'Trip', 'Trains to Lyon', 'Two per hour.');
    chatWith(store, 'Other trip', 'Trains to Nice', 'One per day.');
    expect(find(store, 'trains hour')).toEqual(['Trip']);
    expect(find(store, 'trip trains')).toEqual(['Other trip', 'Trip']);
  });

  it('finds short words and scripts without spaces', () => {
    const { store } = openStore();
    chatWith(store, 'Japanese', '日本語のテキストを書いて', 'はい');
    chatWith(store, 'Go', 'Is Go fast?', 'Yes, 100% so_so');
    expect(find(store, '日本語')).toEqual(['Japanese']);
    expect(find(store, '日本')).toEqual(['Japanese']);
    expect(find(store, 'go')).toEqual(['Go']);
    // Wildcards of LIKE are plain characters here.
    expect(find(store, '0%')).toEqual(['Go']);
    expect(find(store, '_s')).toEqual(['Go']);
    expect(find(store, '%x')).toEqual([]);
  });

  it('takes any text as words, not as search syntax', () => {
    const { store } = openStore();
    chatWith(store, 'Code', 'const a = "b" AND c*', 'NOT (x OR y) {near}');
    for (const query of ['"b"', 'AND', 'c*', 'NOT', '(x', '{near}', 'title:x', '^a', "'", '""', '"', '*', 'NEAR(']) {
      expect(() => store.search(query), query).not.toThrow();
    }
    expect(find(store, '"b" AND')).toEqual(['Code']);
    expect(find(store, '   ')).toEqual([]);
    expect(() => store.search('word '.repeat(200) + [...Array(300).keys()].join(' '))).not.toThrow();
  });

  it('follows renames, edits and removals', () => {
    const { store } = openStore();
    const id = chatWith(store, 'Before', 'question', 'the old answer');
    const reply = store.withMessages(id).messages[1]!;
    store.change(id, { title: 'After' });
    store.changeMessage(reply.id, { text: 'a rewritten reply' });
    expect(find(store, 'Before')).toEqual([]);
    expect(find(store, 'old answer')).toEqual([]);
    expect(find(store, 'rewritten')).toEqual(['After']);
    store.remove(id);
    expect(find(store, 'rewritten')).toEqual([]);
    store.restore(id);
    expect(find(store, 'rewritten')).toEqual(['After']);
  });

  it('indexes a reply once it has ended, also after it was continued, and keeps the index sound', () => {
    const { store, db } = openStore();
    const chat = store.create(defaults);
    const question = message('user', null, 'Tell me.');
    const reply = message('assistant', question.id, '', 'streaming');
    store.append(chat.id, [question, reply]);
    store.changeMessage(reply.id, { text: 'elephants' });
    expect(store.search('elephants')).toEqual([]);
    store.changeMessage(reply.id, { status: 'stopped' });
    expect(store.search('elephants')).toHaveLength(1);
    store.changeMessage(reply.id, { status: 'streaming' });
    expect(store.search('elephants')).toEqual([]);
    store.changeMessage(reply.id, { text: 'elephants and giraffes' });
    store.settle();
    expect(store.search('giraffes')).toHaveLength(1);
    store.remove(chat.id);
    store.settle();
    // FTS5's own comparison of index and table; it throws when they differ.
    db.exec("INSERT INTO message_search (message_search, rank) VALUES ('integrity-check', 1)");
    db.exec("INSERT INTO chat_search (chat_search, rank) VALUES ('integrity-check', 1)");
  });
});
