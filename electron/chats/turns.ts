import type { Message } from '../contract/entities';
import type { ChatTurn } from '../engine/runtime';

/**
 * A branch as the model sees it. Replies that stayed empty (they failed) are left out and the questions around them
 * joined, because most templates insist that the roles alternate.
 */
export function turnsOf(branch: readonly Message[]): ChatTurn[] {
  const turns: ChatTurn[] = [];
  for (const { role, text } of branch) {
    if (text === '') continue;
    const last = turns[turns.length - 1];
    if (last?.role === role) last.text += `\n\n${text}`;
    else turns.push({ role, text });
  }
  return turns;
}

const titleLength = 60;

/** A chat's first title: the beginning of its first message, on one line. */
export function titleFrom(text: string): string {
  const characters = [...text.slice(0, 1000).replace(/\s+/g, ' ').trim()];
  if (characters.length <= titleLength) return characters.join('') || 'Untitled';
  const cut = characters.slice(0, titleLength - 1).join('');
  const lastSpace = cut.lastIndexOf(' ');
  return `${lastSpace > titleLength / 2 ? cut.slice(0, lastSpace) : cut}…`;
}
