// @vitest-environment happy-dom
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { commandOf, runCommand } from '../../../renderer/lib/commands';
import { isSendKey } from '../../../renderer/lib/isSendKey';
import { handleKey } from '../../../renderer/lib/useKeyboard';
import { useStore } from '../../../renderer/store/store';

const key = (init: KeyboardEventInit): KeyboardEvent => new KeyboardEvent('keydown', { cancelable: true, ...init });

describe('send key', () => {
  const press = { key: 'Enter', shiftKey: false, altKey: false, isComposing: false, keyCode: 13 };
  it('is Enter alone', () => {
    expect(isSendKey(press)).toBe(true);
    expect(isSendKey({ ...press, shiftKey: true })).toBe(false);
    expect(isSendKey({ ...press, key: 'a', keyCode: 65 })).toBe(false);
  });
  it('is not the Enter that ends a composition, however the input method reports it', () => {
    expect(isSendKey({ ...press, isComposing: true })).toBe(false);
    expect(isSendKey({ ...press, keyCode: 229 })).toBe(false);
  });
});

describe('shortcuts', () => {
  it.each([
    [{ key: 'n', ctrlKey: true }, 'new-chat'],
    [{ key: 'N', ctrlKey: true }, 'new-chat'],
    [{ key: 'n', metaKey: true }, 'new-chat'],
    [{ key: 'b', ctrlKey: true }, 'toggle-sidebar'],
    [{ key: ',', ctrlKey: true }, 'open-settings'],
    [{ key: '.', ctrlKey: true }, 'toggle-panel'],
    [{ key: 'k', ctrlKey: true }, 'search'],
    [{ key: 'f', ctrlKey: true }, 'search'],
    [{ key: 'n' }, null],
    [{ key: 'n', ctrlKey: true, shiftKey: true }, null],
    [{ key: 'n', ctrlKey: true, altKey: true }, null], // AltGr on Windows reports both
    [{ key: 'c', ctrlKey: true }, null],
  ])('%o is %s', (init, command) => {
    expect(commandOf(key(init))).toBe(command);
  });
});

describe('commands in the store', () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ['performance'], now: 0 });
    vi.advanceTimersByTime(10_000);
    useStore.setState({ narrow: true, drawer: null, settingsOpen: false, live: {} });
    return () => void vi.useRealTimers();
  });

  it('runs a shortcut once when page and menu both report it', () => {
    const press = key({ key: 'b', ctrlKey: true });
    handleKey(press);
    runCommand('toggle-sidebar', 'menu');
    expect(press.defaultPrevented).toBe(true);
    expect(useStore.getState().drawer).toBe('sidebar');
  });

  it('runs a second press from the same source, and a later one from the other', () => {
    runCommand('toggle-panel', 'page');
    runCommand('toggle-panel', 'page');
    expect(useStore.getState().drawer).toBeNull();
    vi.advanceTimersByTime(1000);
    runCommand('toggle-panel', 'menu');
    expect(useStore.getState().drawer).toBe('panel');
  });

  it('changes nothing behind the settings dialog', () => {
    useStore.setState({ settingsOpen: true });
    runCommand('toggle-panel', 'page');
    expect(useStore.getState().drawer).toBeNull();
  });

  it('stops the reply on Escape, but not while a control keeps the key or a text is being composed', () => {
    const stop = vi.fn(() => Promise.resolve({ ok: true, value: null }));
    vi.stubGlobal('api', { reply: { stop } });
    useStore.setState({
      activeId: 'chat',
      live: { reply: { chatId: 'chat', prefill: null, tokens: 0, tokensPerSecond: 0 } },
    });
    handleKey(key({ key: 'Escape', isComposing: true }));
    const kept = key({ key: 'Escape' });
    kept.preventDefault();
    handleKey(kept);
    expect(stop).not.toHaveBeenCalled();
    handleKey(key({ key: 'Escape' }));
    expect(stop).toHaveBeenCalledWith({ messageId: 'reply' });
    vi.unstubAllGlobals();
  });
});
