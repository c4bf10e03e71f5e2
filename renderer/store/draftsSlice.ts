import type { Slice } from './store';

/** The draft of a chat that does not exist yet. */
export const newChatKey = 'new';

export interface DraftsSlice {
  /** Text not sent yet, by chat id or `newChatKey`. */
  drafts: Record<string, string>;
  setDraft: (key: string, text: string) => void;
  moveDraft: (from: string, to: string) => void;
}

const storageKey = 'hunch.drafts';

function read(): Record<string, string> {
  try {
    const value: unknown = JSON.parse(localStorage.getItem(storageKey) ?? '{}');
    if (typeof value !== 'object' || value === null) return {};
    return Object.fromEntries(Object.entries(value).filter((e): e is [string, string] => typeof e[1] === 'string'));
  } catch {
    return {}; // unreadable drafts are not worth refusing to start
  }
}

let timer: ReturnType<typeof setTimeout> | undefined;
function save(drafts: Record<string, string>): void {
  clearTimeout(timer);
  timer = setTimeout(() => {
    try {
      localStorage.setItem(storageKey, JSON.stringify(drafts));
    } catch {
      // Full or forbidden storage: the draft still lives in memory, and the text itself is saved when it is sent.
    }
  }, 250);
}

export const createDraftsSlice: Slice<DraftsSlice> = (set, get) => {
  const put = (drafts: Record<string, string>): void => {
    set({ drafts });
    save(drafts);
  };
  return {
    drafts: read(),
    setDraft: (key, text) => {
      const { [key]: _, ...rest } = get().drafts;
      put(text === '' ? rest : { ...rest, [key]: text });
    },
    moveDraft: (from, to) => {
      const { [from]: text, ...rest } = get().drafts;
      put(text === undefined ? rest : { ...rest, [to]: text });
    },
  };
};
