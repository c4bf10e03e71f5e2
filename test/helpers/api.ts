import type { Page } from 'playwright-core';
import type { HunchApi } from '../../electron/contract/api';
import type { ChatWithMessages } from '../../electron/contract/entities';

/** In functions that run in the page: what the preload exposes there. */
export type WithApi = { api: HunchApi };

/** Every chat as the main process holds it. */
export function allChats(page: Page): Promise<ChatWithMessages[]> {
  return page.evaluate(async () => {
    const { api } = globalThis as unknown as WithApi;
    const list = await api.chats.list();
    if (!list.ok) throw new Error(list.error.message);
    const chats: ChatWithMessages[] = [];
    for (const { id } of list.value) {
      const chat = await api.chats.get({ chatId: id });
      if (!chat.ok) throw new Error(chat.error.message);
      chats.push(chat.value);
    }
    return chats;
  });
}
