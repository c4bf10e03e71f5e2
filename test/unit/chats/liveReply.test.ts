import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveReply } from '../../../electron/chats/liveReply';
import type { MessageChange } from '../../../electron/chats/store';
import type { Message } from '../../../electron/contract/entities';

const reply: Message = {
  id: 'r',
  chatId: 'c',
  parentId: 'q',
  role: 'assistant',
  text: '',
  status: 'streaming',
  error: null,
  createdAt: 1,
  stats: null,
  provenance: null,
  siblings: ['r'],
};

function begin(text = '') {
  const saved: MessageChange[] = [];
  const disk = { full: false };
  const ended = vi.fn();
  const failed = vi.fn();
  const live = new LiveReply(
    { ...reply, text },
    {
      save: (change) => {
        if (disk.full) throw new Error('full');
        saved.push(change);
      },
      onSaveError: failed,
      onEnded: ended,
    },
  );
  return { live, saved, disk, ended, failed };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe('LiveReply', () => {
  it('saves at most 500 ms after a text came, however many follow', () => {
    const { live, saved } = begin();
    for (let i = 0; i < 100; i++) {
      live.append('x');
      vi.advanceTimersByTime(16);
    }
    expect(saved.map((change) => change.text!.length)).toEqual([32, 64, 96]);
    vi.advanceTimersByTime(500);
    expect(saved[saved.length - 1]!.text).toHaveLength(100);
    vi.advanceTimersByTime(5000);
    expect(saved).toHaveLength(4);
  });

  it('goes on after the text it starts with', () => {
    const { live, saved } = begin('Once upon');
    live.append(' a time');
    live.flush();
    expect(saved).toEqual([{ text: 'Once upon a time' }]);
  });

  it('commits the end with all text at once', () => {
    const { live, saved, ended } = begin();
    live.append('all');
    expect(live.finish({ status: 'stopped' })).toBe(true);
    expect(saved).toEqual([{ status: 'stopped', text: 'all' }]);
    expect(ended).toHaveBeenCalledOnce();
    vi.advanceTimersByTime(10_000);
    expect(saved).toHaveLength(1);
  });

  it('keeps the text while it cannot be saved, and saves the end when it can', () => {
    const { live, saved, disk, ended, failed } = begin();
    disk.full = true;
    live.append('precious');
    vi.advanceTimersByTime(600);
    expect(live.finish({ status: 'complete' })).toBe(false);
    expect(live.snapshot()).toMatchObject({ text: 'precious', status: 'complete' });
    vi.advanceTimersByTime(20_000);
    expect(failed.mock.calls.length).toBeGreaterThan(3);
    expect(ended).not.toHaveBeenCalled();
    disk.full = false;
    vi.advanceTimersByTime(5000);
    expect(saved).toEqual([{ status: 'complete', text: 'precious' }]);
    expect(ended).toHaveBeenCalledOnce();
  });
});
