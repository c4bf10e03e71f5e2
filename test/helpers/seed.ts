import { randomUUID } from 'node:crypto';
import path from 'node:path';
import { openDatabase } from '../../electron/chats/database';
import { ChatStore, type NewMessage } from '../../electron/chats/store';
import { defaultSampling } from '../../electron/contract/entities';
import { defaultSparsity } from '../../electron/contract/sparsity';

/** Writes a chat into the (closed) app's database: question, reply, question, reply … */
export function storeChat(home: string, title: string, texts: readonly string[]): void {
  const file = path.join(home, 'hunch.db');
  const { db } = openDatabase(file);
  const store = new ChatStore(db, file);
  try {
    const chat = store.create({
      systemPrompt: '',
      sampling: { ...defaultSampling, temperature: 0, repeatPenalty: 1, maxTokens: 500 },
      sparsity: defaultSparsity,
    });
    let parentId: string | null = null;
    const messages = texts.map((text, i): NewMessage => {
      const id = randomUUID();
      const message = { id, parentId, text, status: 'complete', provenance: null } as const;
      parentId = id;
      return { ...message, role: i % 2 === 0 ? 'user' : 'assistant' };
    });
    store.append(chat.id, messages, title);
  } finally {
    store.close();
  }
}
