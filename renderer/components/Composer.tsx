import { ArrowUp, Square } from 'lucide-react';
import { useEffect, useRef } from 'react';
import TextareaAutosize from 'react-textarea-autosize';
import { isSendKey } from '../lib/isSendKey';
import { newChatKey } from '../store/draftsSlice';
import { liveReplyOf } from '../store/repliesSlice';
import { useStore } from '../store/store';
import css from './Composer.module.css';
import { ContextMeter } from './ContextMeter';
import { SparsityReadout } from './SparsityReadout';
import { Tip } from './Tip';

export function Composer() {
  const activeId = useStore((s) => s.activeId);
  const key = activeId ?? newChatKey;
  const text = useStore((s) => s.drafts[key] ?? '');
  const sending = useStore((s) => s.sending[key] ?? false);
  const writing = useStore((s) => liveReplyOf(s.live, activeId) !== null);
  const wish = useStore((s) => s.focusWish);
  const { setDraft, sendDraft, stop } = useStore.getState();
  const textarea = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    if (wish.target === 'composer') textarea.current?.focus();
  }, [wish]);

  return (
    <div className={css.composer}>
      <form
        className={css.box}
        onSubmit={(event) => {
          event.preventDefault();
          if (writing) stop();
          else void sendDraft();
        }}
        // The whole box is the field to the eye, so a click beside the text reaches it.
        onMouseDown={(event) => {
          if (event.target !== event.currentTarget) return;
          event.preventDefault();
          textarea.current?.focus();
        }}
      >
        <TextareaAutosize
          ref={textarea}
          id="message"
          aria-label="Message"
          placeholder="Ask anything"
          className={css.text}
          autoFocus
          minRows={1}
          maxRows={12}
          value={text}
          onChange={(event) => setDraft(key, event.target.value)}
          onKeyDown={(event) => {
            if (!isSendKey(event.nativeEvent)) return;
            event.preventDefault();
            // While a reply is written, Enter neither sends nor stops: the next question waits as a draft.
            if (!writing) void sendDraft();
          }}
        />
        {writing ? (
          <Tip text="Stop" shortcut="Esc" side="top">
            <button type="submit" className={css.send} data-stop="true" aria-label="Stop">
              <Square size={13} fill="currentColor" aria-hidden />
            </button>
          </Tip>
        ) : (
          <Tip text="Send" shortcut="Enter" side="top">
            <button type="submit" className={css.send} aria-label="Send" disabled={text.trim() === '' || sending}>
              <ArrowUp size={18} strokeWidth={2.4} aria-hidden />
            </button>
          </Tip>
        )}
      </form>
      <div className={css.foot}>
        <span className={css.hint}>
          <kbd>Enter</kbd> sends, <kbd>Shift+Enter</kbd> starts a line. Small models make mistakes; check what matters.
        </span>
        <span className={css.facts}>
          <SparsityReadout />
          <ContextMeter />
        </span>
      </div>
    </div>
  );
}
