import { useId, useState } from 'react';
import css from './UserMessage.module.css';

const longCharacters = 1800;
const longLines = 24;

/** What the person wrote, as written. A pasted document is folded, so that the reply to it is not pages away. */
export function UserText({ text }: { text: string }) {
  const id = useId();
  const [open, setOpen] = useState(false);
  const long = text.length > longCharacters || text.split('\n', longLines + 1).length > longLines;
  return (
    <div className={css.bubble}>
      <div id={id} className={long && !open ? css.folded : undefined}>
        {text}
      </div>
      {long && (
        <button
          type="button"
          className={css.fold}
          aria-expanded={open}
          aria-controls={id}
          onClick={() => setOpen((was) => !was)}
        >
          {open ? 'Show less' : 'Show all'}
        </button>
      )}
    </div>
  );
}
