import type { ChatWithMessages, Message } from '../../electron/contract/entities';
import type { ReplyStarted } from '../../electron/contract/channels';
import { api } from '../api';
import type { Slice } from './store';

export interface MessagesSlice {
  messages: Record<string, Message>;
  /** Ids of the branch shown, first message first, by chat id. A missing key: not loaded yet. */
  branches: Record<string, string[]>;
  receiveBranch: (chat: ChatWithMessages) => void;
  receiveStarted: (chatId: string, started: ReplyStarted) => void;
  receiveMessage: (message: Message) => void;
  showBranch: (chatId: string, messageId: string) => Promise<void>;
}

/** The branch after a reply has started: its parent, then the new messages; what hung there before is a sibling now. */
export function branchWith(branch: string[], { user, reply }: ReplyStarted): string[] {
  const first = user ?? reply;
  const existing = branch.indexOf(first.id);
  const parent = first.parentId === null ? -1 : branch.indexOf(first.parentId);
  const kept = branch.slice(0, existing >= 0 ? existing : parent + 1);
  return user ? [...kept, user.id, reply.id] : [...kept, reply.id];
}

/** All siblings carry the same list, so a new one is told to the others. */
function withSiblings(messages: Record<string, Message>, message: Message): Record<string, Message> {
  const next = { ...messages, [message.id]: message };
  for (const id of message.siblings) {
    const sibling = next[id];
    if (sibling && sibling.siblings.length !== message.siblings.length) {
      next[id] = { ...sibling, siblings: message.siblings };
    }
  }
  return next;
}

export const createMessagesSlice: Slice<MessagesSlice> = (set, get) => ({
  messages: {},
  branches: {},

  receiveBranch: ({ messages: list, ...chat }) => {
    get().receiveChat(chat);
    set((s) => {
      const messages = { ...s.messages };
      // A reply that streams here is ahead of the database.
      for (const message of list) if (!s.live[message.id]) messages[message.id] = message;
      return { messages, branches: { ...s.branches, [chat.id]: list.map((message) => message.id) } };
    });
    get().watchOrphans(chat.id);
  },

  receiveStarted: (chatId, started) => {
    set((s) => {
      const withUser = started.user ? withSiblings(s.messages, started.user) : s.messages;
      return {
        messages: withSiblings(withUser, started.reply),
        branches: { ...s.branches, [chatId]: branchWith(s.branches[chatId] ?? [], started) },
      };
    });
  },

  receiveMessage: (message) => set((s) => ({ messages: withSiblings(s.messages, message) })),

  showBranch: async (chatId, messageId) => {
    try {
      get().receiveBranch(await api.chats.showBranch(chatId, messageId));
    } catch (error) {
      get().report(error);
    }
  },
});
