import { defaultSampling } from '../../electron/contract/entities';
import type { Chat, ChatSummary, Sampling } from '../../electron/contract/entities';
import { defaultSparsity } from '../../electron/contract/sparsity';
import type { Sparsity } from '../../electron/contract/sparsity';
import { api } from '../api';
import { newChatKey } from './draftsSlice';
import type { Slice } from './store';

/** What the panel edits. */
export type ChatConfig = Pick<Chat, 'systemPrompt' | 'sampling' | 'sparsity' | 'modelId'>;

export interface ChatsSlice {
  /** Every chat's title and dates, by id. */
  summaries: Record<string, ChatSummary>;
  /** Configuration and leaf of the chats opened so far. */
  chats: Record<string, Chat>;
  chatsLoaded: boolean;
  /** null: a new chat that is created when its first message is sent. */
  activeId: string | null;
  /** Changes made in the panel before the new chat exists. */
  newChatConfig: Partial<ChatConfig>;
  renamingId: string | null;
  searchQuery: string;
  /** Ids found, best first; null when nothing is searched for. */
  searchIds: string[] | null;

  receiveChats: (chats: ChatSummary[]) => void;
  receiveChat: (chat: Chat) => void;
  newChat: () => void;
  openChat: (chatId: string) => Promise<void>;
  /** The active chat's id, after creating it if need be. */
  ensureChat: () => Promise<string>;
  setRenaming: (chatId: string | null) => void;
  renameChat: (chatId: string, title: string) => Promise<void>;
  removeChat: (chatId: string) => Promise<void>;
  exportChat: (chatId: string, format: 'markdown' | 'json') => Promise<void>;
  search: (query: string) => void;
  /** Shows the change at once, saves it after a pause. */
  configureChat: (chatId: string | null, patch: Partial<ChatConfig>) => void;
  /** Saves what waits; called when a field loses focus, a chat is left, or the window closes. */
  flushConfigure: () => Promise<void>;
}

const configurePauseMs = 400;
const searchPauseMs = 120;

/** The configuration shown in the panel for the active chat, or null before anything is loaded. */
export function shownConfig(
  s: Pick<ChatsSlice, 'activeId' | 'chats' | 'newChatConfig'> & {
    settings: { defaultSystemPrompt: string; defaultSampling: Sampling; defaultSparsity: Sparsity } | null;
  },
): ChatConfig {
  const chat = s.activeId ? s.chats[s.activeId] : undefined;
  if (chat) return chat;
  return {
    systemPrompt: s.settings?.defaultSystemPrompt ?? '',
    sampling: s.settings?.defaultSampling ?? defaultSampling,
    sparsity: s.settings?.defaultSparsity ?? defaultSparsity,
    modelId: null,
    ...(s.activeId ? {} : s.newChatConfig),
  };
}

export const createChatsSlice: Slice<ChatsSlice> = (set, get) => {
  let unsaved: { chatId: string; patch: Partial<ChatConfig> } | null = null;
  let saveTimer: ReturnType<typeof setTimeout> | undefined;
  let searchTimer: ReturnType<typeof setTimeout> | undefined;

  return {
    summaries: {},
    chats: {},
    chatsLoaded: false,
    activeId: null,
    newChatConfig: {},
    renamingId: null,
    searchQuery: '',
    searchIds: null,

    receiveChats: (list) => {
      const summaries: Record<string, ChatSummary> = {};
      for (const chat of list) summaries[chat.id] = chat;
      set((s) => ({
        summaries,
        chatsLoaded: true,
        activeId: s.activeId && !summaries[s.activeId] ? null : s.activeId,
      }));
    },

    receiveChat: (chat) => {
      const { id, title, createdAt, updatedAt } = chat;
      set((s) => ({
        chats: { ...s.chats, [id]: chat },
        summaries: { ...s.summaries, [id]: { id, title, createdAt, updatedAt } },
      }));
    },

    newChat: () => {
      void get().flushConfigure();
      set({ activeId: null, newChatConfig: {}, drawer: null });
      get().wishFocus('composer');
    },

    openChat: async (chatId) => {
      void get().flushConfigure();
      set({ activeId: chatId, drawer: null });
      try {
        get().receiveBranch(await api.chats.get(chatId));
      } catch (error) {
        if (get().activeId === chatId) set({ activeId: null });
        get().report(error);
      }
    },

    ensureChat: async () => {
      const { activeId, newChatConfig } = get();
      if (activeId) return activeId;
      let chat = await api.chats.create();
      if (Object.keys(newChatConfig).length > 0) {
        chat = await api.chats.configure({ chatId: chat.id, ...newChatConfig });
      }
      get().receiveChat(chat);
      get().moveDraft(newChatKey, chat.id);
      set((s) => ({ branches: { ...s.branches, [chat.id]: [] } }));
      // Only if the person has not gone elsewhere meanwhile.
      if (get().activeId === null) set({ activeId: chat.id, newChatConfig: {} });
      return chat.id;
    },

    setRenaming: (renamingId) => set({ renamingId }),

    renameChat: async (chatId, title) => {
      set({ renamingId: null });
      const before = get().summaries[chatId];
      const trimmed = title.trim().slice(0, 200);
      if (!before || trimmed === '' || trimmed === before.title) return;
      set((s) => ({ summaries: { ...s.summaries, [chatId]: { ...before, title: trimmed } } }));
      try {
        get().receiveChat(await api.chats.rename(chatId, trimmed));
      } catch (error) {
        set((s) => ({ summaries: { ...s.summaries, [chatId]: before } }));
        get().report(error);
      }
    },

    removeChat: async (chatId) => {
      const removed = get().summaries[chatId];
      if (!removed) return;
      const wasActive = get().activeId === chatId;
      try {
        await api.chats.remove(chatId);
      } catch (error) {
        get().report(error);
        return;
      }
      set((s) => {
        const { [chatId]: _, ...summaries } = s.summaries;
        return { summaries, activeId: s.activeId === chatId ? null : s.activeId };
      });
      const restore = async (): Promise<void> => {
        try {
          get().receiveChat(await api.chats.restore(chatId));
          if (wasActive) await get().openChat(chatId);
        } catch (error) {
          get().report(error);
        }
      };
      get().notify(`“${removed.title}” was deleted.`, { label: 'Undo', run: () => void restore() });
    },

    exportChat: async (chatId, format) => {
      try {
        const saved = await api.chats.export(chatId, format);
        if (saved) get().notify(`Saved to ${saved.path}`);
      } catch (error) {
        get().report(error);
      }
    },

    search: (query) => {
      set({ searchQuery: query });
      clearTimeout(searchTimer);
      if (query.trim() === '') {
        set({ searchIds: null });
        return;
      }
      searchTimer = setTimeout(() => {
        api.chats
          .search(query)
          .then((found) => {
            if (get().searchQuery === query) set({ searchIds: found.map((chat) => chat.id) });
          })
          .catch(get().report);
      }, searchPauseMs);
    },

    configureChat: (chatId, patch) => {
      if (chatId === null) {
        set((s) => ({ newChatConfig: { ...s.newChatConfig, ...patch } }));
        return;
      }
      const chat = get().chats[chatId];
      if (!chat) return;
      set((s) => ({ chats: { ...s.chats, [chatId]: { ...chat, ...patch } } }));
      if (unsaved && unsaved.chatId !== chatId) void get().flushConfigure();
      unsaved = { chatId, patch: { ...unsaved?.patch, ...patch } };
      clearTimeout(saveTimer);
      saveTimer = setTimeout(() => void get().flushConfigure(), configurePauseMs);
    },

    flushConfigure: async () => {
      const moved = get().flushSparsity();
      clearTimeout(saveTimer);
      const saving = unsaved;
      unsaved = null;
      try {
        // Sent before anything is waited for: the window may be closing.
        if (saving) await api.chats.configure({ chatId: saving.chatId, ...saving.patch });
        await moved;
      } catch (error) {
        get().report(error);
      }
    },
  };
};
