import type { ChatSummary } from '../../electron/contract/entities';

export interface ChatGroup {
  label: string;
  ids: string[];
}

const dayMs = 86_400_000;
const startOfDay = (ms: number): number => new Date(ms).setHours(0, 0, 0, 0);

/** Headings as people think of time: days first, then a week, a month, and month names. */
export function dayLabel(updatedAt: number, now: number): string {
  // Rounding absorbs the hour that a change to or from summer time adds or takes.
  const days = Math.round((startOfDay(now) - startOfDay(updatedAt)) / dayMs);
  if (days <= 0) return 'Today';
  if (days === 1) return 'Yesterday';
  if (days < 7) return 'Previous 7 days';
  if (days < 30) return 'Previous 30 days';
  const date = new Date(updatedAt);
  const sameYear = date.getFullYear() === new Date(now).getFullYear();
  return date.toLocaleDateString('en', sameYear ? { month: 'long' } : { month: 'long', year: 'numeric' });
}

/** Newest chat first; groups in that order. */
export function groupByDay(chats: ChatSummary[], now: number): ChatGroup[] {
  const groups: ChatGroup[] = [];
  for (const chat of [...chats].sort((a, b) => b.updatedAt - a.updatedAt)) {
    const label = dayLabel(chat.updatedAt, now);
    const last = groups[groups.length - 1];
    if (last?.label === label) last.ids.push(chat.id);
    else groups.push({ label, ids: [chat.id] });
  }
  return groups;
}
