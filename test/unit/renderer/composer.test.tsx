// @vitest-environment happy-dom
import { cleanup, fireEvent, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { Tooltip } from 'radix-ui';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Chat, Message } from '../../../electron/contract/entities';
import { defaultSampling } from '../../../electron/contract/entities';
import { defaultSparsity } from '../../../electron/contract/sparsity';
import { Composer } from '../../../renderer/components/Composer';
import { useStore } from '../../../renderer/store/store';

const initial = useStore.getState();
const chat: Chat = {
  id: '0b7e4a0e-3c1b-4a53-9d6a-5e1f0d3c2b01',
  title: 'New chat',
  createdAt: 1,
  updatedAt: 1,
  systemPrompt: '',
  sampling: defaultSampling,
  sparsity: defaultSparsity,
  modelId: null,
  leafId: null,
};
const message = (id: string, role: Message['role'], text: string, parentId: string | null): Message => ({
  id,
  chatId: chat.id,
  parentId,
  role,
  text,
  status: role === 'user' ? 'complete' : 'streaming',
  error: null,
  createdAt: 1,
  stats: null,
  provenance: null,
  siblings: [id],
});

interface StartInput {
  messageId: string;
  parentId: string | null;
  text: string;
}
/** The process boundary: what `reply.start` was asked, and the answer the test decides on. */
let asked: StartInput[];
let answer: (input: StartInput) => unknown;
const committed = (input: StartInput): unknown => ({
  ok: true,
  value: {
    user: message(input.messageId, 'user', input.text, input.parentId),
    reply: message('reply', 'assistant', '', input.messageId),
  },
});
const refused = (): unknown => ({
  ok: false,
  error: { code: 'disk-full', message: 'The disk is full: free some space and send again.' },
});

beforeEach(() => {
  localStorage.clear();
  useStore.setState(initial, true);
  useStore.setState({ drafts: {} });
  asked = [];
  answer = committed;
  vi.stubGlobal('api', {
    chats: { create: () => Promise.resolve({ ok: true, value: chat }) },
    reply: {
      start: (input: StartInput) => {
        asked.push(input);
        return Promise.resolve(answer(input));
      },
      stop: vi.fn(() => Promise.resolve({ ok: true, value: null })),
    },
    onReply: () => () => undefined,
  });
  render(
    <Tooltip.Provider>
      <Composer />
    </Tooltip.Provider>,
  );
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const field = (): HTMLTextAreaElement => screen.getByRole('textbox', { name: 'Message' });
const user = userEvent.setup();

describe('Composer', () => {
  it('sends on Enter, writes a line on Shift+Enter, and clears only after the answer', async () => {
    await user.type(field(), 'one{Shift>}{Enter}{/Shift}two');
    expect(asked).toEqual([]);
    expect(field().value).toBe('one\ntwo');
    let release: () => void = () => undefined;
    answer = (input) => new Promise((resolve) => (release = () => resolve(committed(input))));
    await user.keyboard('{Enter}');
    await waitFor(() => expect(asked).toHaveLength(1));
    expect(asked[0]?.text).toBe('one\ntwo');
    expect(field().value).toBe('one\ntwo');
    release();
    await waitFor(() => expect(field().value).toBe(''));
  });

  it('keeps the text when sending fails, says why, and sends it again under the same id', async () => {
    answer = refused;
    await user.type(field(), 'precious{Enter}');
    await waitFor(() =>
      expect(useStore.getState().notices.map((n) => n.text)).toEqual([
        'The disk is full: free some space and send again.',
      ]),
    );
    expect(field().value).toBe('precious');
    expect(useStore.getState().notices[0]?.kind).toBe('error');

    answer = committed;
    await user.type(field(), '{Enter}');
    await waitFor(() => expect(field().value).toBe(''));
    expect(asked).toHaveLength(2);
    expect(asked[1]?.messageId).toBe(asked[0]?.messageId);
  });

  it('gives a text that was changed after a failure an id of its own', async () => {
    answer = refused;
    await user.type(field(), 'first{Enter}');
    await waitFor(() => expect(useStore.getState().notices).toHaveLength(1));
    await user.type(field(), ' and more{Enter}');
    await waitFor(() => expect(asked).toHaveLength(2));
    expect(asked[1]?.messageId).not.toBe(asked[0]?.messageId);
  });

  it('keeps what is typed while a message is on its way', async () => {
    let release: () => void = () => undefined;
    answer = (input) => new Promise((resolve) => (release = () => resolve(committed(input))));
    await user.type(field(), 'sent{Enter}');
    await waitFor(() => expect(asked).toHaveLength(1));
    await user.type(field(), ' next');
    release();
    await waitFor(() => expect(screen.getByRole('button', { name: 'Stop' })).toBeTruthy());
    expect(field().value).toBe('sent next');
  });

  it('does not send while an input method composes', async () => {
    fireEvent.change(field(), { target: { value: 'にほ' } });
    fireEvent.keyDown(field(), { key: 'Enter', isComposing: true });
    fireEvent.keyDown(field(), { key: 'Enter', keyCode: 229 });
    expect(asked).toEqual([]);
    fireEvent.keyDown(field(), { key: 'Enter', keyCode: 13 });
    await waitFor(() => expect(asked).toHaveLength(1));
  });

  it('sends nothing that is blank, and nothing twice', async () => {
    await user.type(field(), '   {Enter}');
    expect(asked).toEqual([]);
    expect(screen.getByRole<HTMLButtonElement>('button', { name: 'Send' }).disabled).toBe(true);
    await user.type(field(), 'x{Enter}{Enter}{Enter}');
    await waitFor(() => expect(field().value).toBe(''));
    expect(asked).toHaveLength(1);
  });

  it('turns Send into Stop while the reply is written; Enter then waits', async () => {
    await user.type(field(), 'go{Enter}');
    const stop = await screen.findByRole('button', { name: 'Stop' });
    await user.type(field(), 'later{Enter}');
    expect(asked).toHaveLength(1);
    expect(field().value).toBe('later');
    await user.click(stop);
    expect(vi.mocked(window.api.reply.stop)).toHaveBeenCalledWith({ messageId: 'reply' });
  });

  it('keeps one draft per chat', () => {
    fireEvent.change(field(), { target: { value: 'for a new chat' } });
    useStore.setState({ activeId: chat.id, chats: { [chat.id]: chat }, branches: { [chat.id]: [] } });
    return waitFor(() => {
      expect(field().value).toBe('');
      expect(useStore.getState().drafts.new).toBe('for a new chat');
    });
  });
});
