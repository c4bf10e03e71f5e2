import type { Replies } from '../chats/replies';
import type { DomainHandlers } from './dispatch';

export function replyHandlers(replies: Replies): DomainHandlers<'reply'> {
  return {
    'reply.start': (input) => replies.start(input),
    'reply.regenerate': (input) => replies.regenerate(input),
    'reply.continue': (input) => replies.continue(input),
    'reply.stop': ({ messageId }) => {
      replies.stop(messageId);
      return null;
    },
  };
}
