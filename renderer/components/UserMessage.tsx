import { Pencil } from 'lucide-react';
import { memo, useState } from 'react';
import { liveReplyOf } from '../store/repliesSlice';
import { useStore } from '../store/store';
import { CopyButton } from './CopyButton';
import { EditMessage } from './EditMessage';
import { IconButton } from './IconButton';
import { SiblingSwitcher } from './SiblingSwitcher';
import { UserText } from './UserText';
import css from './UserMessage.module.css';

export const UserMessage = memo(function UserMessage({ messageId }: { messageId: string }) {
  const message = useStore((s) => s.messages[messageId]);
  const writing = useStore((s) => (message ? liveReplyOf(s.live, message.chatId) !== null : false));
  const [editing, setEditing] = useState(false);
  if (!message) return null;
  return (
    <article className={css.message} aria-label="You" data-message-id={messageId}>
      {editing ? (
        <EditMessage message={message} onClose={() => setEditing(false)} />
      ) : (
        <>
          <UserText text={message.text} />
          <div className={css.actions} role="group" aria-label="Message actions">
            <SiblingSwitcher message={message} />
            <span className={css.quiet}>
              <CopyButton label="Copy message" getText={() => message.text} />
              <IconButton small label="Edit message" disabled={writing} onClick={() => setEditing(true)}>
                <Pencil size={14} aria-hidden />
              </IconButton>
            </span>
          </div>
        </>
      )}
    </article>
  );
});
