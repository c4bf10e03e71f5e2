import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { randomUUID } from 'node:crypto';
import { afterEach } from 'vitest';
import { openDatabase } from '../../../electron/chats/database';
import { ChatStore, type NewMessage } from '../../../electron/chats/store';
import { defaultSampling } from '../../../electron/contract/entities';
import { defaultSparsity } from '../../../electron/contract/sparsity';

const folders: string[] = [];
const stores: ChatStore[] = [];

afterEach(() => {
  for (const store of stores.splice(0)) {
    try {
      store.close();
    } catch {
      // Closed by the test.
    }
  }
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

export function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(tmpdir(), 'hunch-chats-'));
  folders.push(folder);
  return folder;
}

/** A store over a real file; with `file`, over the same one again. */
export function openStore(
  file = path.join(temporaryFolder(), 'hunch.db'),
  now?: () => number,
): { store: ChatStore; file: string; db: ReturnType<typeof openDatabase>['db'] } {
  const { db } = openDatabase(file);
  const store = new ChatStore(db, file, now);
  stores.push(store);
  return { store, file, db };
}

export const defaults = { systemPrompt: '', sampling: defaultSampling, sparsity: defaultSparsity };

export function message(
  role: 'user' | 'assistant',
  parentId: string | null,
  text: string,
  status: NewMessage['status'] = 'complete',
): NewMessage {
  return { id: randomUUID(), role, parentId, text, status, provenance: null };
}
