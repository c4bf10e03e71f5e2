import { useEffect, useRef } from 'react';
import { useStore } from '../store/store';
import css from './RenameField.module.css';

/** Enter or leaving the field keeps the new title, Escape the old one. */
export function RenameField({ chatId, title }: { chatId: string; title: string }) {
  const { renameChat, setRenaming } = useStore.getState();
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    // After the menu that opened this has closed and given up its hold on the focus.
    const timer = setTimeout(() => input.current?.select(), 0);
    return () => clearTimeout(timer);
  }, []);

  const backToRow = (): void => {
    setTimeout(() => document.querySelector<HTMLElement>(`[data-chat-row="${chatId}"]`)?.focus(), 0);
  };
  return (
    <input
      ref={input}
      className={css.rename}
      aria-label="Chat title"
      defaultValue={title}
      maxLength={200}
      autoFocus
      onBlur={(event) => {
        if (useStore.getState().renamingId === chatId) void renameChat(chatId, event.target.value);
      }}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.nativeEvent.isComposing) return;
        if (event.key === 'Enter') {
          void renameChat(chatId, event.currentTarget.value);
          backToRow();
        } else if (event.key === 'Escape') {
          event.preventDefault();
          setRenaming(null);
          backToRow();
        }
      }}
    />
  );
}
