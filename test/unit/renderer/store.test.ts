// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Chat, ChatSummary, Message } from '../../../electron/contract/entities';
import { defaultSampling } from '../../../electron/contract/entities';
import { defaultSparsity } from '../../../electron/contract/sparsity';
import type { ReplyListener } from '../../../electron/contract/stream';
import { branchWith } from '../../../renderer/store/messagesSlice';
import { useStore } from '../../../renderer/store/store';

const initial = useStore.getState();
const chat: Chat = {
  id: 'chat',
  title: 'Snow',
  createdAt: 1,
  updatedAt: 1,
  systemPrompt: '',
  sampling: defaultSampling,
  sparsity: defaultSparsity,
  modelId: null,
  leafId: 'r1',
};
const message = (id: string, over: Partial<Message> = {}): Message => ({
  id,
  chatId: 'chat',
  parentId: null,
  role: 'assistant',
  text: '',
  status: 'complete',
  error: null,
  createdAt: 1,
  stats: null,
  provenance: null,
  siblings: [id],
  ...over,
});
const question = message('u1', { role: 'user', text: 'Write about snow' });
const first = message('r1', { parentId: 'u1', text: 'Snow falls' });
const ok = (value: unknown) => Promise.resolve({ ok: true, value });
const state = () => useStore.getState();

beforeEach(() => {
  useStore.setState(initial, true);
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('branches', () => {
  it('appends a question and its reply', () => {
    const reply = message('r2', { parentId: 'u2' });
    const user = message('u2', { role: 'user', parentId: 'r1' });
    expect(branchWith(['u1', 'r1'], { user, reply })).toEqual(['u1', 'r1', 'u2', 'r2']);
    expect(branchWith([], { user: { ...user, parentId: null }, reply })).toEqual(['u2', 'r2']);
  });
  it('puts a regenerated reply in the place of its sibling and of what followed', () => {
    const reply = message('r1b', { parentId: 'u1' });
    expect(branchWith(['u1', 'r1', 'u2', 'r2'], { user: null, reply })).toEqual(['u1', 'r1b']);
  });
  it('keeps a continued reply where it is, also when the same message is answered twice', () => {
    expect(branchWith(['u1', 'r1'], { user: null, reply: first })).toEqual(['u1', 'r1']);
    expect(branchWith(['u1', 'r1'], { user: question, reply: first })).toEqual(['u1', 'r1']);
  });
});

describe('a reply', () => {
  let listener: ReplyListener;
  beforeEach(() => {
    vi.stubGlobal('requestAnimationFrame', (run: () => void) => setTimeout(run, 16));
    vi.stubGlobal('api', {
      reply: {
        regenerate: () =>
          ok({ user: null, reply: message('r2', { parentId: 'u1', status: 'streaming', siblings: ['r1', 'r2'] }) }),
      },
      onReply: (_id: string, given: ReplyListener) => {
        listener = given;
        return () => undefined;
      },
    });
    state().receiveBranch({ ...chat, messages: [question, first] });
    useStore.setState({ activeId: 'chat' });
  });

  it('streams into its message, tells its siblings, and ends with what the database holds', async () => {
    await state().regenerate('r1');
    expect(state().branches.chat).toEqual(['u1', 'r2']);
    expect(state().messages.r1?.siblings).toEqual(['r1', 'r2']);
    expect(state().announcement.text).toBe('Reply started.');

    listener({ type: 'text', text: 'Soft ', tokens: 1, tokensPerSecond: 5 });
    listener({ type: 'text', text: 'snow', tokens: 2, tokensPerSecond: 9 });
    expect(state().messages.r2?.text).toBe('');
    vi.advanceTimersByTime(16);
    expect(state().messages.r2?.text).toBe('Soft snow');
    expect(state().live.r2).toMatchObject({ tokens: 2, tokensPerSecond: 9 });

    const done = message('r2', {
      parentId: 'u1',
      text: 'Soft snow falls',
      status: 'interrupted',
      siblings: ['r1', 'r2'],
    });
    listener({ type: 'done', message: done });
    expect(state().messages.r2).toEqual(done);
    expect(state().live).toEqual({});
    expect(state().announcement.text).toBe('Reply interrupted.');
  });

  it('is not overwritten by an older copy from the database while it streams', async () => {
    await state().regenerate('r1');
    listener({ type: 'text', text: 'Soft snow', tokens: 2, tokensPerSecond: 9 });
    vi.advanceTimersByTime(16);
    state().receiveBranch({
      ...chat,
      messages: [question, message('r2', { parentId: 'u1', status: 'streaming', text: 'So' })],
    });
    expect(state().messages.r2?.text).toBe('Soft snow');
  });

  it('is followed through the database when the page was reloaded while it streamed', async () => {
    const get = vi.fn(() =>
      ok({ ...chat, messages: [question, message('r9', { parentId: 'u1', text: 'all of it' })] }),
    );
    vi.stubGlobal('api', { chats: { get } });
    state().receiveBranch({
      ...chat,
      messages: [question, message('r9', { parentId: 'u1', status: 'streaming', text: 'all' })],
    });
    await vi.advanceTimersByTimeAsync(1000);
    expect(state().messages.r9).toMatchObject({ status: 'complete', text: 'all of it' });
    await vi.advanceTimersByTimeAsync(5000);
    expect(get).toHaveBeenCalledTimes(1);
  });
});

describe('chats', () => {
  const summary: ChatSummary = { id: 'chat', title: 'Snow', createdAt: 1, updatedAt: 1 };

  it('saves the panel after a pause, in one message, and at once on flush', async () => {
    const configure = vi.fn(() => ok(chat));
    vi.stubGlobal('api', { chats: { configure } });
    state().receiveChat(chat);
    state().configureChat('chat', { systemPrompt: 'B' });
    state().configureChat('chat', { systemPrompt: 'Be' });
    state().configureChat('chat', { sampling: { ...defaultSampling, topK: 7 } });
    expect(state().chats.chat?.systemPrompt).toBe('Be');
    expect(configure).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(400);
    expect(configure.mock.calls).toEqual([
      [{ chatId: 'chat', systemPrompt: 'Be', sampling: { ...defaultSampling, topK: 7 } }],
    ]);
    state().configureChat('chat', { systemPrompt: 'Brief' });
    void state().flushConfigure();
    expect(configure).toHaveBeenCalledTimes(2);
    await vi.advanceTimersByTimeAsync(1000);
    expect(configure).toHaveBeenCalledTimes(2);
  });

  it('removes a chat and brings it back with Undo', async () => {
    vi.stubGlobal('api', {
      chats: { remove: () => ok(null), restore: () => ok(chat), get: () => ok({ ...chat, messages: [question] }) },
    });
    state().receiveChats([summary]);
    useStore.setState({ activeId: 'chat' });
    await state().removeChat('chat');
    expect(state().summaries).toEqual({});
    expect(state().activeId).toBeNull();
    const undo = state().notices[0]?.action;
    expect(undo?.label).toBe('Undo');
    undo?.run();
    await vi.advanceTimersByTimeAsync(0);
    expect(state().summaries.chat?.title).toBe('Snow');
    expect(state().activeId).toBe('chat');
  });

  it('puts the old title back when renaming fails', async () => {
    const refusal = { ok: false, error: { code: 'disk-full', message: 'The disk is full.' } };
    vi.stubGlobal('api', { chats: { rename: () => Promise.resolve(refusal) } });
    state().receiveChats([summary]);
    const renaming = state().renameChat('chat', ' Ice ');
    expect(state().summaries.chat?.title).toBe('Ice');
    await renaming;
    expect(state().summaries.chat?.title).toBe('Snow');
    expect(state().notices[0]?.text).toBe('The disk is full.');
  });

  it('shows the results of the last search only', async () => {
    const answers: Record<string, (found: ChatSummary[]) => void> = {};
    vi.stubGlobal('api', {
      chats: {
        search: ({ query }: { query: string }) =>
          new Promise((resolve) => (answers[query] = (value) => resolve({ ok: true, value }))),
      },
    });
    state().search('sn');
    await vi.advanceTimersByTimeAsync(200);
    state().search('snow');
    await vi.advanceTimersByTimeAsync(200);
    answers.snow?.([summary]);
    answers.sn?.([]);
    await vi.advanceTimersByTimeAsync(0);
    expect(state().searchIds).toEqual(['chat']);
    state().search('');
    expect(state().searchIds).toBeNull();
  });
});
