import { memo } from 'react';
import { Markdown } from '../markdown/Markdown';
import { useStore } from '../store/store';
import css from './Reply.module.css';
import { ReplyFooter } from './ReplyFooter';
import { ReplyNotice } from './ReplyNotice';
import { ReplyProgress } from './ReplyProgress';

export const Reply = memo(function Reply({ messageId, last }: { messageId: string; last: boolean }) {
  const message = useStore((s) => s.messages[messageId]);
  if (!message) return null;
  const writing = message.status === 'streaming';
  return (
    <article
      className={css.reply}
      aria-label="Reply"
      aria-busy={writing}
      data-status={message.status}
      data-last={last}
      data-message-id={messageId}
    >
      {message.text !== '' && <Markdown text={message.text} growing={writing} />}
      {writing && <ReplyProgress messageId={messageId} started={message.text !== ''} />}
      <ReplyNotice message={message} />
      {!writing && (message.text !== '' || message.siblings.length > 1) && <ReplyFooter message={message} />}
    </article>
  );
});
