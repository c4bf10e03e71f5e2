import { writeFile } from 'node:fs/promises';
import type { Chat, ChatWithMessages, Settings } from '../contract/entities';
import type { Sparsity } from '../contract/sparsity';
import { chatToJson, chatToMarkdown, exportFileName } from '../chats/export';
import type { Replies } from '../chats/replies';
import type { ChatStore } from '../chats/store';
import { fileError } from '../files';
import type { DomainHandlers } from './dispatch';

export interface ChatDependencies {
  store: ChatStore;
  replies: Pick<Replies, 'stopChat' | 'withLiveText'>;
  settings(): Settings;
  onChanged(): void;
  /** The chat's KV cache is not needed any more. */
  forget(chatId: string): void;
  /** For the reply that is being written or waits for the engine, from its next token on. */
  setSparsity(chatId: string, sparsity: Sparsity): void;
  /** Asks where to save; null when the person cancels. */
  askSavePath(fileName: string): Promise<string | null>;
}

export function chatHandlers(deps: ChatDependencies): DomainHandlers<'chats'> {
  const { store, replies, onChanged } = deps;
  const live = (chat: ChatWithMessages): ChatWithMessages => ({
    ...chat,
    messages: replies.withLiveText(chat.messages),
  });
  const announce = (chat: Chat): Chat => {
    onChanged();
    return chat;
  };
  return {
    'chats.list': () => store.list(),
    'chats.search': ({ query }) => store.search(query),
    'chats.create': () => {
      const { defaultSystemPrompt, defaultSampling, defaultSparsity } = deps.settings();
      return announce(
        store.create({ systemPrompt: defaultSystemPrompt, sampling: defaultSampling, sparsity: defaultSparsity }),
      );
    },
    'chats.get': ({ chatId }) => live(store.withMessages(chatId)),
    'chats.rename': ({ chatId, title }) => announce(store.change(chatId, { title })),
    'chats.configure': ({ chatId, ...change }) => {
      const chat = store.change(chatId, change);
      if (change.sparsity) deps.setSparsity(chatId, change.sparsity);
      return chat;
    },
    'chats.remove': ({ chatId }) => {
      store.remove(chatId);
      replies.stopChat(chatId);
      deps.forget(chatId);
      onChanged();
      return null;
    },
    'chats.restore': ({ chatId }) => announce(store.restore(chatId)),
    'chats.showBranch': ({ chatId, messageId }) => live(store.showBranch(chatId, messageId)),
    'chats.export': async ({ chatId, format }) => {
      const chat = live(store.withMessages(chatId));
      const path = await deps.askSavePath(exportFileName(chat.title, format));
      if (path === null) return null;
      const { messages, ...head } = chat;
      const text =
        format === 'markdown'
          ? chatToMarkdown(head, messages)
          : chatToJson(head, replies.withLiveText(store.allMessages(chatId)));
      await writeFile(path, text).catch((error: unknown) => {
        throw fileError(error, path);
      });
      return { path };
    },
  };
}
