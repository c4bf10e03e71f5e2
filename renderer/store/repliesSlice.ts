import type { ReplyStarted } from '../../electron/contract/channels';
import { api } from '../api';
import { applyBatch, coalesce, startLive } from '../lib/replyBatch';
import type { LiveReply, ReplyBatch } from '../lib/replyBatch';
import { newChatKey } from './draftsSlice';
import type { Slice } from './store';

export interface RepliesSlice {
  /** Replies being written, by message id. */
  live: Record<string, LiveReply>;
  /** Chats (or `newChatKey`) whose message is on its way to the database. */
  sending: Record<string, boolean>;
  /** Sends the active chat's draft. The draft is cleared only once the message is committed. */
  sendDraft: () => Promise<void>;
  /** Sends `text` as another version of a message of the person's; true once it is committed. */
  resend: (messageId: string, text: string) => Promise<boolean>;
  regenerate: (messageId: string) => Promise<void>;
  continueReply: (messageId: string) => Promise<void>;
  /** Stops the reply of the active chat; false when none is being written. */
  stop: () => boolean;
  /** Follows replies that are being written but have no port here (the page was reloaded). */
  watchOrphans: (chatId: string) => void;
}

const orphanPollMs = 1000;

/** The reply being written in a chat, if any. */
export function liveReplyOf(live: Record<string, LiveReply>, chatId: string | null): string | null {
  for (const id in live) if (live[id]?.chatId === chatId) return id;
  return null;
}

export const createRepliesSlice: Slice<RepliesSlice> = (set, get) => {
  /** The id a draft was sent under when that failed: sending the same text again under it cannot make it appear twice. */
  const attempts = new Map<string, { id: string; text: string }>();
  const orphans = new Set<string>();

  const receive = (replyId: string, batch: ReplyBatch): void => {
    const { live, messages } = get();
    const message = messages[replyId];
    const state = live[replyId];
    if (!message || !state) return;
    const next = applyBatch(message, state, batch);
    set((s) => {
      const { [replyId]: _, ...rest } = s.live;
      return {
        messages: { ...s.messages, [replyId]: next.message },
        live: next.live ? { ...rest, [replyId]: next.live } : rest,
      };
    });
    if (next.live) return;
    get().receiveMessage(next.message);
    get().endFrames(next.message);
    const { status, error } = next.message;
    const endings = { complete: 'Reply finished.', stopped: 'Reply stopped.', interrupted: 'Reply interrupted.' };
    get().announce(endings[status as keyof typeof endings] ?? `Reply failed. ${error?.message ?? ''}`);
  };

  const follow = (chatId: string, started: ReplyStarted): void => {
    const { reply } = started;
    get().receiveStarted(chatId, started);
    if (reply.status !== 'streaming') return;
    set((s) => ({ live: { ...s.live, [reply.id]: startLive(chatId) } }));
    get().announce('Reply started.');
    get().beginFrames(reply);
    const write = coalesce((batch) => receive(reply.id, batch));
    api.onReply(reply.id, (event) => {
      if (event.type === 'frames') get().receiveFrames(reply.id, event);
      else write(event);
    });
  };

  /** A reply from an existing message: the chat's unsaved settings belong to it, so they go first. */
  const again = async (messageId: string, verb: typeof api.reply.regenerate): Promise<void> => {
    const chatId = get().messages[messageId]?.chatId;
    if (!chatId || liveReplyOf(get().live, chatId)) return;
    try {
      await get().flushConfigure();
      follow(chatId, await verb(chatId, messageId));
    } catch (error) {
      get().report(error);
    }
  };

  return {
    live: {},
    sending: {},

    sendDraft: async () => {
      const key = get().activeId ?? newChatKey;
      const text = get().drafts[key] ?? '';
      if (text.trim() === '' || get().sending[key] || liveReplyOf(get().live, get().activeId)) return;
      set((s) => ({ sending: { ...s.sending, [key]: true } }));
      let chatId = key;
      try {
        await get().flushConfigure();
        chatId = await get().ensureChat();
        set((s) => ({ sending: { ...s.sending, [chatId]: true } }));
        const earlier = attempts.get(chatId);
        const id = earlier?.text === text ? earlier.id : crypto.randomUUID();
        attempts.set(chatId, { id, text });
        const branch = get().branches[chatId] ?? [];
        const parentId = branch[branch.length - 1] ?? null;
        const started = await api.reply.start({ chatId, messageId: id, parentId, text });
        attempts.delete(chatId);
        // Committed. What was typed meanwhile is the next draft.
        if (get().drafts[chatId] === text) get().setDraft(chatId, '');
        follow(chatId, started);
      } catch (error) {
        get().report(error);
      } finally {
        set((s) => {
          const { [key]: _, [chatId]: __, ...sending } = s.sending;
          return { sending };
        });
      }
    },

    resend: async (messageId, text) => {
      const message = get().messages[messageId];
      if (!message || text.trim() === '' || liveReplyOf(get().live, message.chatId)) return false;
      const { chatId, parentId } = message;
      try {
        await get().flushConfigure();
        follow(chatId, await api.reply.start({ chatId, messageId: crypto.randomUUID(), parentId, text }));
        return true;
      } catch (error) {
        get().report(error);
        return false;
      }
    },

    regenerate: (messageId) => again(messageId, api.reply.regenerate),
    continueReply: (messageId) => again(messageId, api.reply.continue),

    stop: () => {
      const replyId = liveReplyOf(get().live, get().activeId);
      if (!replyId) return false;
      api.reply.stop(replyId).catch(get().report);
      return true;
    },

    watchOrphans: (chatId) => {
      const { branches, messages, live } = get();
      const orphaned = branches[chatId]?.some((id) => messages[id]?.status === 'streaming' && !live[id]);
      if (!orphaned || orphans.has(chatId)) return;
      orphans.add(chatId);
      setTimeout(() => {
        orphans.delete(chatId);
        if (get().activeId !== chatId) return;
        api.chats.get(chatId).then(get().receiveBranch).catch(get().report);
      }, orphanPollMs);
    },
  };
};
