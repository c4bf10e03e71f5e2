import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ActivityStore } from '../../../electron/chats/activityStore';
import { KeptActivity } from '../../../electron/chats/keptActivity';
import { Replies } from '../../../electron/chats/replies';
import { defaultSampling, type ReplyStats } from '../../../electron/contract/entities';
import { HunchError, type ErrorBody } from '../../../electron/contract/errors';
import type { ReplyEvent } from '../../../electron/contract/stream';
import type { ReplyProgress, ReplyRequest } from '../../../electron/engine/runtime';
import { defaults, message, openStore, temporaryFolder } from './helpers';

const stats: ReplyStats = {
  promptTokens: 3,
  cachedTokens: 0,
  generatedTokens: 2,
  timeToFirstTokenMs: 1,
  tokensPerSecond: 50,
  stopReason: 'end',
};

/** An engine whose replies the test ends by hand; store and database are real. */
function setup(file?: string) {
  const opened = openStore(file);
  const asked: {
    id: string;
    modelId: string;
    request: ReplyRequest;
    say: (text: string) => void;
    tell: (made: string) => void;
    frames: (from: number, frames: (Uint8Array | null)[]) => void;
    end: (stats?: ReplyStats | null) => Promise<void>;
    fail: (error: unknown) => Promise<void>;
    stops: number;
    found: string[];
  }[] = [];
  const events: Record<string, ReplyEvent[]> = {};
  const changes = { chats: 0 };
  const log: string[] = [];
  const kept = new KeptActivity({
    store: new ActivityStore(opened.db, opened.file, () => 2 ** 20),
    version: '1.2.3',
    modelHash: async () => 'a'.repeat(64),
    onProblem: (problem) => problems.push(problem),
    log: (line) => log.push(line),
  });
  const problems: ErrorBody[] = [];
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve));
  const replies = new Replies({
    store: opened.store,
    engine: {
      reply(id, modelId, request, onEvent: (event: ReplyProgress) => void) {
        let resolve: (stats: ReplyStats | null) => void;
        let reject: (error: unknown) => void;
        const promise = new Promise<ReplyStats | null>((yes, no) => ([resolve, reject] = [yes, no]));
        let tokens = 0;
        const entry = {
          id,
          modelId,
          request,
          stops: 0,
          /** What the database held when the engine was asked. */
          found: opened.store
            .withMessages(request.chatKey)
            .messages.map((one) => `${one.role} ${one.status} ${one.text}`),
          say: (text: string) => onEvent({ type: 'text', text, tokens: ++tokens, tokensPerSecond: 50 }),
          frames: (from: number, frames: (Uint8Array | null)[]) =>
            onEvent({
              type: 'frames',
              whole: true,
              from,
              frames,
              tokens: frames.map((_, i) => ({ id: from + i, text: `${from + i} ` })),
            }),
          tell: (made: string) => onEvent({ type: 'sparsity', made }),
          end: (value: ReplyStats | null = stats) => (resolve(value), settle()),
          fail: (error: unknown) => (reject(error), settle()),
        };
        asked.push(entry);
        return { promise, stop: () => void entry.stops++ };
      },
    },
    activity: kept,
    defaultModelId: () => 'default-model',
    modelName: (id) => id.toUpperCase(),
    openStream: (id) => {
      const own = (events[id] ??= []);
      return (event) => own.push(event);
    },
    onChatsChanged: () => changes.chats++,
    log: (line) => log.push(line),
    flushMs: 20,
    retryMs: 30,
  });
  const chat = opened.store.create(defaults);
  const start = (text: string, parentId: string | null = null, messageId = randomUUID()) =>
    replies.start({ chatId: chat.id, messageId, parentId, text });
  return { ...opened, kept, problems, replies, asked, events, changes, log, chat, start };
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('starting a reply', () => {
  it('commits the message and an empty reply before the engine is asked', () => {
    const { store, start, asked, chat } = setup();
    const { user, reply } = start('Hello there');
    expect(asked[0]!.found).toEqual(['user complete Hello there', 'assistant streaming ']);
    expect(store.chat(chat.id)).toMatchObject({ leafId: reply.id, title: 'Hello there' });
    expect(user).toMatchObject({ text: 'Hello there', status: 'complete', parentId: null });
    expect(reply).toMatchObject({ parentId: user!.id, status: 'streaming', text: '' });
  });

  it('gives the engine the branch, the system prompt, the model and a drawn seed', async () => {
    const { store, start, asked, chat } = setup();
    store.change(chat.id, {
      systemPrompt: 'Be brief.',
      modelId: 'chosen-model',
      sampling: { ...defaultSampling, temperature: 0.1 },
    });
    const first = start('one');
    asked[0]!.say('1');
    await asked[0]!.end();
    start('two', first.reply.id);
    expect(asked[1]).toMatchObject({
      modelId: 'chosen-model',
      request: {
        chatKey: chat.id,
        systemPrompt: 'Be brief.',
        messages: [
          { role: 'user', text: 'one' },
          { role: 'assistant', text: '1' },
          { role: 'user', text: 'two' },
        ],
        sampling: { temperature: 0.1, seed: expect.any(Number) },
      },
    });
    expect(asked[1]!.request.continueText).toBeUndefined();
    expect(store.message(asked[1]!.id)!.provenance).toMatchObject({
      modelId: 'chosen-model',
      modelName: 'CHOSEN-MODEL',
      sparsity: 'exact',
      sampling: { seed: asked[1]!.request.sampling.seed },
    });
  });

  it('streams, saves within the flush time, and commits the end before `done`', async () => {
    const { store, start, asked, events } = setup();
    const { reply } = start('Go');
    asked[0]!.say('Hel');
    asked[0]!.say('lo');
    expect(store.message(reply.id)!.text).toBe('');
    await sleep(40);
    expect(store.message(reply.id)).toMatchObject({ text: 'Hello', status: 'streaming' });
    asked[0]!.say('!');
    await asked[0]!.end();
    expect(store.message(reply.id)).toMatchObject({ text: 'Hello!', status: 'complete', stats });
    expect(events[reply.id]!.map((event) => event.type)).toEqual(['text', 'text', 'text', 'done']);
    expect(events[reply.id]![3]).toMatchObject({
      message: { id: reply.id, text: 'Hello!', status: 'complete', stats },
    });
  });

  it('shows the newest text to whoever asks', async () => {
    const { store, replies, start, asked, chat } = setup();
    const { reply } = start('Go');
    asked[0]!.say('not on the disk yet');
    expect(replies.withLiveText(store.withMessages(chat.id).messages)[1]).toMatchObject({
      id: reply.id,
      text: 'not on the disk yet',
    });
  });

  it('is harmless when the same message is sent again', async () => {
    const { store, start, asked, chat } = setup();
    const id = randomUUID();
    const first = start('once', null, id);
    asked[0]!.say('answer');
    const again = start('once', null, id);
    expect(again.user).toEqual(first.user);
    expect(again.reply).toMatchObject({ id: first.reply.id, text: 'answer', status: 'streaming' });
    await asked[0]!.end();
    expect(start('once', null, id).reply).toMatchObject({ id: first.reply.id, status: 'complete' });
    expect(asked).toHaveLength(1);
    expect(store.allMessages(chat.id)).toHaveLength(2);
    expect(() => start('something else', null, id)).toThrow(expect.objectContaining({ code: 'bad-request' }));
  });

  it('refuses a second reply in the same chat, not in another one', async () => {
    const { store, replies, start, asked, chat } = setup();
    const { user, reply } = start('one');
    const ids = { chatId: chat.id, messageId: reply.id };
    for (const attempt of [() => start('two', reply.id), () => replies.regenerate(ids), () => replies.continue(ids)]) {
      expect(attempt).toThrow(expect.objectContaining({ code: 'busy' }));
    }
    expect(store.allMessages(chat.id)).toHaveLength(2);
    const other = store.create(defaults);
    replies.start({ chatId: other.id, messageId: randomUUID(), parentId: null, text: 'elsewhere' });
    expect(asked).toHaveLength(2);
    await asked[0]!.end();
    expect(start('two', reply.id).user!.parentId).toBe(reply.id);
    expect(user!.chatId).toBe(chat.id);
  });

  it('refuses parents that do not fit', async () => {
    const { store, start, asked, chat } = setup();
    const { user } = start('one');
    await asked[0]!.end();
    expect(() => start('two', user!.id)).toThrow(expect.objectContaining({ code: 'bad-request' }));
    expect(() => start('two', randomUUID())).toThrow(expect.objectContaining({ code: 'not-found' }));
    const other = store.create(defaults);
    const foreign = message('assistant', null, 'elsewhere');
    store.append(other.id, [foreign]);
    expect(() => start('two', foreign.id)).toThrow(expect.objectContaining({ code: 'not-found' }));
    expect(store.allMessages(chat.id)).toHaveLength(2);
  });

  it('names a chat after its first message only, and never one that a person named', async () => {
    const { store, start, asked, chat } = setup();
    const { reply } = start('First words');
    await asked[0]!.end();
    start('Second words', reply.id);
    expect(store.chat(chat.id).title).toBe('First words');
    const named = setup();
    named.store.change(named.chat.id, { title: 'Mine' });
    named.start('First words');
    expect(named.store.chat(named.chat.id).title).toBe('Mine');
  });
});

describe('how a reply ends', () => {
  it('stopped: the text is kept', async () => {
    const { store, replies, start, asked } = setup();
    const { reply } = start('Go');
    asked[0]!.say('half');
    replies.stop(reply.id);
    expect(asked[0]!.stops).toBe(1);
    await asked[0]!.end({ ...stats, stopReason: 'stopped' });
    expect(store.message(reply.id)).toMatchObject({ status: 'stopped', text: 'half', error: null });
    replies.stop(reply.id);
    replies.stop(randomUUID());
    expect(asked[0]!.stops).toBe(1);
  });

  it('stopped before it began', async () => {
    const { store, start, asked } = setup();
    const { reply } = start('Go');
    await asked[0]!.end(null);
    expect(store.message(reply.id)).toMatchObject({ status: 'stopped', text: '', stats: null });
  });

  it('the engine crashed: interrupted, with the text so far and the reason', async () => {
    const { store, start, asked, events } = setup();
    const { reply } = start('Go');
    asked[0]!.say('so far');
    await asked[0]!.fail(new HunchError('engine-crashed', 'The engine stopped.'));
    const expected = {
      status: 'interrupted',
      text: 'so far',
      error: { code: 'engine-crashed', message: 'The engine stopped.' },
    };
    expect(store.message(reply.id)).toMatchObject(expected);
    expect(events[reply.id]!.at(-1)).toMatchObject({ type: 'done', message: expected });
  });

  it('any other error: failed; an unknown one without its details', async () => {
    const { store, start, asked, log } = setup();
    const { reply } = start('Go');
    await asked[0]!.fail(new HunchError('context-overflow', 'Too long. Start a new chat.'));
    expect(store.message(reply.id)).toMatchObject({
      status: 'failed',
      error: { code: 'context-overflow', message: 'Too long. Start a new chat.' },
    });
    const second = start('Go on', reply.id).reply;
    await asked[1]!.fail(new TypeError('x.y is undefined at /secret/path'));
    expect(store.message(second.id)!.error).toMatchObject({
      code: 'internal',
      message: expect.not.stringContaining('secret'),
    });
    expect(log.join()).toContain('/secret/path');
  });

  it('the app closes: interrupted with all text, and late news from the engine change nothing', async () => {
    const { store, replies, start, asked, events } = setup();
    const { reply } = start('Go');
    asked[0]!.say('until now');
    replies.interruptAll();
    expect(store.message(reply.id)).toMatchObject({ status: 'interrupted', text: 'until now' });
    asked[0]!.say(' and more');
    await asked[0]!.fail(new HunchError('engine-crashed', 'closed'));
    expect(store.message(reply.id)).toMatchObject({ status: 'interrupted', text: 'until now', error: null });
    expect(events[reply.id]!.some((event) => event.type === 'done')).toBe(false);
  });

  it('the chat was removed: stopped, still saved, restored with it', async () => {
    const { store, replies, start, asked, chat } = setup();
    const { reply } = start('Go');
    asked[0]!.say('text');
    store.remove(chat.id);
    replies.stopChat(chat.id);
    expect(asked[0]!.stops).toBe(1);
    await asked[0]!.end({ ...stats, stopReason: 'stopped' });
    store.restore(chat.id);
    expect(store.message(reply.id)).toMatchObject({ status: 'stopped', text: 'text' });
  });
});

describe('a full disk', () => {
  const fill = (db: ReturnType<typeof setup>['db']): void => {
    const { page_count } = db.prepare('PRAGMA page_count').get() as { page_count: number };
    db.exec(`PRAGMA max_page_count = ${page_count}`);
  };

  it('refuses a message it cannot save, and starts nothing', () => {
    const { store, db, start, asked, chat } = setup();
    fill(db);
    expect(() => start('long '.repeat(5000))).toThrow(expect.objectContaining({ code: 'disk-full' }));
    expect(asked).toEqual([]);
    expect(store.withMessages(chat.id)).toMatchObject({ messages: [], leafId: null });
  });

  it('keeps a reply in memory, hands it to the window, and saves it when there is room', async () => {
    const { store, replies, db, start, asked, events, chat } = setup();
    const { reply } = start('Go');
    fill(db);
    const text = 'precious '.repeat(3000);
    asked[0]!.say(text);
    await sleep(40);
    await asked[0]!.end();
    expect(events[reply.id]!.at(-1)).toMatchObject({
      type: 'done',
      message: { text, status: 'failed', error: { code: 'disk-full' } },
    });
    expect(store.message(reply.id)!.text).toBe('');
    expect(replies.withLiveText(store.withMessages(chat.id).messages)[1]!.text).toBe(text);
    db.exec('PRAGMA max_page_count = 1000000');
    await sleep(80);
    expect(store.message(reply.id)).toMatchObject({ text, status: 'complete', stats });
    expect(start('next', reply.id).user!.parentId).toBe(reply.id);
  });
});

describe('regenerate', () => {
  it('adds a sibling from the same question and shows it', async () => {
    const { store, replies, start, asked, chat } = setup();
    const { user, reply } = start('Go');
    asked[0]!.say('first');
    await asked[0]!.end();
    const second = replies.regenerate({ chatId: chat.id, messageId: reply.id });
    expect(second.user).toBeNull();
    expect(second.reply).toMatchObject({ parentId: user!.id, siblings: [reply.id, second.reply.id] });
    expect(asked[1]!.request.messages).toEqual([{ role: 'user', text: 'Go' }]);
    expect(store.chat(chat.id).leafId).toBe(second.reply.id);
    expect(store.message(reply.id)).toMatchObject({ text: 'first', status: 'complete' });
    await asked[1]!.end();
    expect(replies.regenerate({ chatId: chat.id, messageId: user!.id }).reply.parentId).toBe(user!.id);
  });

  it('needs a message of this chat', () => {
    const { replies, chat } = setup();
    expect(() => replies.regenerate({ chatId: chat.id, messageId: randomUUID() })).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    );
    expect(() => replies.regenerate({ chatId: randomUUID(), messageId: randomUUID() })).toThrow(
      expect.objectContaining({ code: 'not-found' }),
    );
  });
});

describe('continue', () => {
  it('goes on in the same message from the text so far', async () => {
    const { store, replies, start, asked, events, chat } = setup();
    const { reply } = start('Go');
    asked[0]!.say('one two');
    await asked[0]!.fail(new HunchError('engine-crashed', 'gone'));
    const again = replies.continue({ chatId: chat.id, messageId: reply.id });
    expect(again).toMatchObject({
      user: null,
      reply: { id: reply.id, text: 'one two', status: 'streaming', error: null },
    });
    expect(asked[1]).toMatchObject({
      id: reply.id,
      request: { continueText: 'one two', messages: [{ role: 'user', text: 'Go' }] },
    });
    asked[1]!.say(' three');
    await asked[1]!.end();
    expect(store.message(reply.id)).toMatchObject({ text: 'one two three', status: 'complete' });
    expect(events[reply.id]!.map((event) => event.type)).toEqual(['text', 'done', 'text', 'done']);
  });

  it('after a stop or a reached length adds up the tokens', async () => {
    const { store, replies, start, asked, chat } = setup();
    const { reply } = start('Go');
    asked[0]!.say('a');
    await asked[0]!.end({ ...stats, stopReason: 'length' });
    replies.continue({ chatId: chat.id, messageId: reply.id });
    await asked[1]!.end({ ...stats, stopReason: 'stopped' });
    expect(store.message(reply.id)).toMatchObject({ status: 'stopped', stats: { generatedTokens: 4 } });
    replies.continue({ chatId: chat.id, messageId: reply.id });
    await asked[2]!.end();
    expect(store.message(reply.id)!.stats!.generatedTokens).toBe(6);
  });

  it('counts the tokens of a continuation that the engine did not live to report', async () => {
    const { store, replies, start, asked, chat } = setup();
    const { reply } = start('Go');
    await asked[0]!.end({ ...stats, stopReason: 'length' });
    replies.continue({ chatId: chat.id, messageId: reply.id });
    for (let i = 0; i < 3; i++) asked[1]!.say('x');
    await asked[1]!.fail(new HunchError('engine-crashed', 'gone'));
    expect(store.message(reply.id)).toMatchObject({ status: 'interrupted', stats: { generatedTokens: 2 + 3 } });
  });

  it('works on what a crash of the whole app left', async () => {
    const first = setup(`${temporaryFolder()}/hunch.db`);
    const { reply } = first.start('Go');
    first.asked[0]!.say('before the crash');
    await sleep(40);
    // The process is gone without a word: nothing is closed or interrupted here.
    const second = setup(first.file);
    second.store.settle();
    const again = second.replies.continue({ chatId: first.chat.id, messageId: reply.id });
    expect(again.reply.text).toBe('before the crash');
    expect(second.asked[0]!.request.continueText).toBe('before the crash');
    first.replies.interruptAll();
  });

  it('refuses questions and finished replies', async () => {
    const { replies, start, asked, chat } = setup();
    const { user, reply } = start('Go');
    await asked[0]!.end();
    for (const messageId of [user!.id, reply.id]) {
      expect(() => replies.continue({ chatId: chat.id, messageId })).toThrow(
        expect.objectContaining({ code: 'bad-request' }),
      );
    }
  });
});

describe('the sparsity of a reply', () => {
  const at = (position: number) => ({ position, correction: false, speculation: false });

  it('is the chat’s, and the provenance tells what the engine did', async () => {
    const { store, start, asked, events, chat } = setup();
    store.change(chat.id, { sparsity: at(0.6) });
    const { reply } = start('one');
    expect(asked[0]!.request.sparsity).toEqual(at(0.6));
    expect(reply.provenance!.sparsity).toBe('balanced');
    asked[0]!.tell('balanced');
    asked[0]!.say('1');
    asked[0]!.tell('balanced → fast');
    asked[0]!.say('2');
    await asked[0]!.end();
    expect(store.message(reply.id)!.provenance).toEqual({ ...reply.provenance, sparsity: 'balanced → fast' });
    expect(events[reply.id]!.at(-1)).toMatchObject({
      type: 'done',
      message: { text: '12', provenance: { sparsity: 'balanced → fast' } },
    });
    expect(events[reply.id]!.map(({ type }) => type)).toEqual(['text', 'text', 'done']);
  });

  it('is kept when the engine dies or the app is closed', async () => {
    const { store, start, asked, replies } = setup();
    const first = start('one');
    asked[0]!.tell('dense');
    asked[0]!.say('1');
    await asked[0]!.fail(new HunchError('engine-crashed', 'It stopped.'));
    expect(store.message(first.reply.id)).toMatchObject({ status: 'interrupted', provenance: { sparsity: 'dense' } });
    const second = start('two', first.reply.id);
    asked[1]!.tell('fast');
    asked[1]!.say('1');
    replies.interruptAll();
    expect(store.message(second.reply.id)).toMatchObject({ status: 'interrupted', provenance: { sparsity: 'fast' } });
  });

  it('reaches the disk with the text', async () => {
    const { store, start, asked } = setup();
    const { reply } = start('one');
    asked[0]!.tell('62 %');
    await sleep(60);
    expect(store.message(reply.id)).toMatchObject({ status: 'streaming', provenance: { sparsity: '62 %' } });
  });

  it('goes on in a continued reply', async () => {
    const { store, start, asked, replies, chat } = setup();
    const { reply } = start('one');
    asked[0]!.tell('exact');
    asked[0]!.say('1');
    await asked[0]!.end({ ...stats, stopReason: 'stopped' });
    store.change(chat.id, { sparsity: at(0.8) });
    const { reply: continued } = replies.continue({ chatId: chat.id, messageId: reply.id });
    expect(continued.provenance!.sparsity).toBe('exact → fast');
    asked[1]!.tell('fast');
    asked[1]!.say('2');
    await asked[1]!.end();
    expect(store.message(reply.id)!.provenance!.sparsity).toBe('exact → fast');
  });
});
