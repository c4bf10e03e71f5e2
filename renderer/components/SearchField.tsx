import { Search, X } from 'lucide-react';
import { useEffect, useRef } from 'react';
import { useStore } from '../store/store';
import css from './SearchField.module.css';

export function SearchField() {
  const query = useStore((s) => s.searchQuery);
  const search = useStore((s) => s.search);
  const wish = useStore((s) => s.focusWish);
  const input = useRef<HTMLInputElement>(null);

  useEffect(() => {
    if (wish.target !== 'search') return;
    input.current?.focus();
    input.current?.select();
    useStore.getState().wishFocus(null); // fulfilled: a later mount must not take the focus again
  }, [wish]);

  return (
    <div className={css.search}>
      <Search size={15} aria-hidden className={css.icon} />
      <input
        ref={input}
        type="text"
        role="searchbox"
        aria-label="Search chats"
        placeholder="Search chats"
        spellCheck={false}
        value={query}
        onChange={(event) => search(event.target.value)}
        onKeyDown={(event) => {
          if (event.nativeEvent.isComposing) return;
          if (event.key === 'Escape') {
            event.preventDefault();
            event.stopPropagation();
            if (query !== '') search('');
            else useStore.getState().wishFocus('composer');
          } else if (event.key === 'ArrowDown' || event.key === 'Enter') {
            event.preventDefault();
            const first = document.querySelector<HTMLElement>('[data-chat-row]');
            if (event.key === 'Enter') first?.click();
            else first?.focus();
          }
        }}
      />
      {query !== '' && (
        <button type="button" aria-label="Clear search" className={css.clear} onClick={() => search('')}>
          <X size={14} aria-hidden />
        </button>
      )}
    </div>
  );
}
