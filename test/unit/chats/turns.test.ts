import { describe, expect, it } from 'vitest';
import { titleFrom, turnsOf } from '../../../electron/chats/turns';
import type { Message } from '../../../electron/contract/entities';

const turn = (role: Message['role'], text: string) => ({ role, text }) as Message;

describe('turnsOf', () => {
  it('keeps the roles alternating when a reply stayed empty', () => {
    const branch = [
      turn('user', 'a'),
      turn('assistant', ''),
      turn('user', 'b'),
      turn('assistant', 'c'),
      turn('user', 'd'),
    ];
    expect(turnsOf(branch)).toEqual([
      { role: 'user', text: 'a\n\nb' },
      { role: 'assistant', text: 'c' },
      { role: 'user', text: 'd' },
    ]);
    expect(branch[0]!.text).toBe('a');
  });
});

describe('titleFrom', () => {
  it.each([
    ['Hello', 'Hello'],
    ['  two\n\nlines ', 'two lines'],
    [' \n ', 'Untitled'],
    ['word '.repeat(30), 'word word word word word word word word word word word…'],
    ['x'.repeat(100), `${'x'.repeat(59)}…`],
    ['👩‍🚀'.repeat(3), '👩‍🚀'.repeat(3)],
  ])('%j → %j', (text, title) => {
    expect(titleFrom(text)).toBe(title);
    expect([...titleFrom(text)].length).toBeLessThanOrEqual(60);
  });
});
