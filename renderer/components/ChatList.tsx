import { useMemo, useRef } from 'react';
import type { KeyboardEvent } from 'react';
import { groupByDay } from '../lib/groupByDay';
import type { ChatGroup } from '../lib/groupByDay';
import { useToday } from '../lib/useToday';
import { useStore } from '../store/store';
import { ChatRow } from './ChatRow';
import css from './ChatList.module.css';

/** Chats by day, or what a search found. One row takes the Tab stop; the arrow keys move between rows. */
export function ChatList() {
  const summaries = useStore((s) => s.summaries);
  const loaded = useStore((s) => s.chatsLoaded);
  const found = useStore((s) => s.searchIds);
  const activeId = useStore((s) => s.activeId);
  const today = useToday();
  const list = useRef<HTMLElement>(null);

  const groups = useMemo((): ChatGroup[] => {
    if (!found) return groupByDay(Object.values(summaries), today);
    const ids = found.filter((id) => summaries[id]);
    return ids.length > 0 ? [{ label: ids.length === 1 ? '1 chat found' : `${ids.length} chats found`, ids }] : [];
  }, [summaries, found, today]);
  const ids = groups.flatMap((group) => group.ids);
  const tabStop = activeId && ids.includes(activeId) ? activeId : ids[0];

  const move = (event: KeyboardEvent): void => {
    const rows = [...(list.current?.querySelectorAll<HTMLElement>('[data-chat-row]') ?? [])];
    const at = rows.findIndex((row) => row === document.activeElement);
    if (at < 0) return;
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: rows.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    rows[Math.min(rows.length - 1, Math.max(0, to))]?.focus();
  };

  return (
    <nav ref={list} aria-label="Chats" className={css.list} onKeyDown={move}>
      {groups.map((group) => (
        <section key={group.label} aria-label={group.label}>
          <h2 className={css.heading}>{group.label}</h2>
          <ul className={css.rows}>
            {group.ids.map((id) => (
              <ChatRow key={id} chatId={id} tabStop={id === tabStop} />
            ))}
          </ul>
        </section>
      ))}
      {loaded && groups.length === 0 && (
        <p className={css.empty}>{found ? 'No chat contains this.' : 'Your chats will be listed here.'}</p>
      )}
    </nav>
  );
}
