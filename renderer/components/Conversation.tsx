import { ArrowDown } from 'lucide-react';
import { useState } from 'react';
import { useStickToBottom } from '../lib/useStickToBottom';
import { useStore } from '../store/store';
import css from './Conversation.module.css';
import { EarlierMessages } from './EarlierMessages';
import { Reply } from './Reply';
import { UserMessage } from './UserMessage';

const page = 20; // messages

/** One chat's branch. Mounted anew for each chat (key), so that scrolling and paging start fresh. */
export function Conversation({ chatId }: { chatId: string }) {
  const branch = useStore((s) => s.branches[chatId]);
  const { scroller, content, atBottom, jump } = useStickToBottom(branch?.length ?? 0);
  const [shown, setShown] = useState(page);

  if (!branch) return <div className={css.wrap} aria-busy="true" />;
  const first = Math.max(0, branch.length - shown);
  return (
    <div className={css.wrap}>
      {/* Announcements go through Announcer: a log that reads out each token would be unbearable. */}
      <div ref={scroller} className={css.scroller} role="log" aria-label="Conversation" aria-live="off" tabIndex={0}>
        <div ref={content} className={css.content}>
          {first > 0 && <EarlierMessages count={first} scroller={scroller} onShow={() => setShown((n) => n + page)} />}
          {branch.slice(first).map((id, i, list) => (
            <Message key={id} messageId={id} last={i === list.length - 1} />
          ))}
        </div>
      </div>
      {!atBottom && (
        <button type="button" className={css.jump} onClick={jump}>
          <ArrowDown size={15} aria-hidden />
          Jump to latest
        </button>
      )}
    </div>
  );
}

function Message({ messageId, last }: { messageId: string; last: boolean }) {
  const role = useStore((s) => s.messages[messageId]?.role);
  if (!role) return null;
  return role === 'user' ? <UserMessage messageId={messageId} /> : <Reply messageId={messageId} last={last} />;
}
