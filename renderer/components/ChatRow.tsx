import { memo } from 'react';
import type { KeyboardEvent } from 'react';
import { liveReplyOf } from '../store/repliesSlice';
import { useStore } from '../store/store';
import { ChatMenu } from './ChatMenu';
import { RenameField } from './RenameField';
import css from './ChatRow.module.css';

/** Keeps the keyboard's place when the focused row goes away. */
function focusNeighbour(row: HTMLElement): void {
  const rows = [...document.querySelectorAll<HTMLElement>('[data-chat-row]')];
  const at = rows.indexOf(row);
  (rows[at + 1] ?? rows[at - 1])?.focus();
}

export const ChatRow = memo(function ChatRow({ chatId, tabStop }: { chatId: string; tabStop: boolean }) {
  const title = useStore((s) => s.summaries[chatId]?.title ?? '');
  const active = useStore((s) => s.activeId === chatId);
  const renaming = useStore((s) => s.renamingId === chatId);
  const writing = useStore((s) => liveReplyOf(s.live, chatId) !== null);
  const { openChat, setRenaming, removeChat, wishFocus } = useStore.getState();

  const onKeyDown = (event: KeyboardEvent<HTMLButtonElement>): void => {
    if (event.key === 'F2') {
      event.preventDefault();
      setRenaming(chatId);
    } else if (event.key === 'Delete') {
      event.preventDefault();
      focusNeighbour(event.currentTarget);
      void removeChat(chatId);
    }
  };

  if (renaming) {
    return (
      <li className={css.row}>
        <RenameField chatId={chatId} title={title} />
      </li>
    );
  }
  return (
    <li className={`${css.row} ${active ? css.active : ''}`}>
      <button
        type="button"
        data-chat-row={chatId}
        className={css.open}
        aria-current={active ? 'page' : undefined}
        aria-keyshortcuts="F2 Delete"
        tabIndex={tabStop ? 0 : -1}
        title={title}
        onClick={() => {
          void openChat(chatId);
          wishFocus('composer');
        }}
        onDoubleClick={() => setRenaming(chatId)}
        onKeyDown={onKeyDown}
      >
        <span className={css.title}>{title}</span>
        {writing && <span className={css.writing} role="img" aria-label="Reply is being written" />}
      </button>
      <ChatMenu chatId={chatId} title={title} tabStop={tabStop} className={css.menu ?? ''} />
    </li>
  );
});
