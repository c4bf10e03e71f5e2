import { useState } from 'react';
import type { KeyboardEvent } from 'react';
import TextareaAutosize from 'react-textarea-autosize';
import type { Message } from '../../electron/contract/entities';
import { isSendKey } from '../lib/isSendKey';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import css from './UserMessage.module.css';

/** Sends another version of a message; the one before stays as its sibling. Closes only once the new one is saved. */
export function EditMessage({ message, onClose }: { message: Message; onClose: () => void }) {
  const [text, setText] = useState(message.text);
  const [sending, setSending] = useState(false);

  const send = async (): Promise<void> => {
    if (sending || text.trim() === '') return;
    setSending(true);
    if (await useStore.getState().resend(message.id, text)) onClose();
    else setSending(false);
  };
  const onKeyDown = (event: KeyboardEvent<HTMLTextAreaElement>): void => {
    if (isSendKey(event.nativeEvent)) {
      event.preventDefault();
      void send();
    } else if (event.key === 'Escape' && !event.nativeEvent.isComposing) {
      event.preventDefault();
      onClose();
    }
  };
  return (
    <div className={css.edit}>
      <TextareaAutosize
        aria-label="Edit message"
        className={controls.textarea}
        autoFocus
        maxRows={14}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onFocus={(event) => event.target.setSelectionRange(text.length, text.length)}
        onKeyDown={onKeyDown}
      />
      <div className={css.editActions}>
        <button type="button" className={`${controls.button} ${controls.buttonSmall}`} onClick={onClose}>
          Cancel
        </button>
        <button
          type="button"
          className={`${controls.button} ${controls.buttonSmall} ${controls.primary}`}
          disabled={sending || text.trim() === ''}
          onClick={() => void send()}
        >
          Send again
        </button>
      </div>
    </div>
  );
}
