import { HunchError } from '../../electron/contract/errors';
import { gpuRemedies } from '../lib/gpuRemedies';
import type { Slice } from './store';

export interface NoticeAction {
  label: string;
  run: () => void;
}

export interface Notice {
  id: number;
  kind: 'error' | 'info';
  text: string;
  action: NoticeAction | null;
}

export interface NoticesSlice {
  notices: Notice[];
  /** Sentence for screen readers only; a counter makes equal sentences distinct. */
  announcement: { text: string; n: number };
  notify: (text: string, action?: NoticeAction) => void;
  /** Shows an error's own sentence, with the step that usually helps; a cancelled action says nothing. */
  report: (error: unknown) => void;
  dismiss: (id: number) => void;
  announce: (text: string) => void;
}

const maxShown = 3;
let nextId = 1;

export const createNoticesSlice: Slice<NoticesSlice> = (set, get) => {
  const push = (notice: Omit<Notice, 'id'>): void =>
    set((s) => ({
      // The same sentence twice is one problem, not two.
      notices: [...s.notices.filter((n) => n.text !== notice.text), { ...notice, id: nextId++ }].slice(-maxShown),
    }));

  const remedy = (error: unknown): NoticeAction | null => {
    if (!(error instanceof HunchError)) return null;
    if (gpuRemedies(error.code, get().engine, get().settings).length > 0) {
      return { label: 'Run on the CPU', run: () => void get().runOnCpu() };
    }
    switch (error.code) {
      case 'model-missing':
      case 'model-truncated':
      case 'model-hash-mismatch':
      case 'model-not-gguf':
      case 'model-unsupported':
      case 'model-invalid':
      case 'download-failed':
      case 'out-of-memory':
        return { label: 'Choose a model', run: () => get().setModelPickerOpen(true) };
      case 'engine-crashed':
      case 'engine-unavailable':
        return { label: 'Restart engine', run: () => void get().restartEngine() };
      case 'context-overflow':
        return { label: 'New chat', run: () => get().newChat() };
      default:
        return null;
    }
  };

  return {
    notices: [],
    announcement: { text: '', n: 0 },
    notify: (text, action) => push({ kind: 'info', text, action: action ?? null }),
    report: (error) => {
      if (error instanceof HunchError && error.code === 'cancelled') return;
      const text = error instanceof Error ? error.message : String(error);
      push({ kind: 'error', text, action: remedy(error) });
    },
    dismiss: (id) => set((s) => ({ notices: s.notices.filter((n) => n.id !== id) })),
    announce: (text) => set((s) => ({ announcement: { text, n: s.announcement.n + 1 } })),
  };
};
