import type { Sparsity, SparsityState } from '../../electron/contract/sparsity';
import { HunchError } from '../../electron/contract/errors';
import { api } from '../api';
import { paced } from '../lib/paced';
import { phaseNames } from '../lib/sparsityWords';
import { shownConfig } from './chatsSlice';
import type { Slice } from './store';

export interface SparsitySlice {
  /** Of the loaded model; null until the main process has answered. */
  sparsity: SparsityState | null;
  receiveSparsity: (state: SparsityState) => void;
  /** Moves the active chat's slider: at once here, from the next token on in the engine. */
  setSparsity: (patch: Partial<Sparsity>) => void;
  flushSparsity: () => Promise<void>;
  calibrate: () => Promise<void>;
  cancelCalibration: () => void;
}

/** Twenty messages a second follow a thumb closely enough, and each is a commit. */
const pauseMs = 50;

export const createSparsitySlice: Slice<SparsitySlice> = (set, get) => {
  const saves = paced(async (change: { chatId: string; sparsity: Sparsity }) => {
    try {
      await api.chats.configure(change);
    } catch (error) {
      get().report(error);
    }
  }, pauseMs);
  let lastChat: string | null = null;

  return {
    sparsity: null,

    receiveSparsity: (state) => {
      const before = get().sparsity;
      set({ sparsity: state });
      const { calibration, problem } = state;
      if (calibration && calibration.phase !== before?.calibration?.phase) {
        get().announce(`${phaseNames[calibration.phase]}.`);
      }
      if (problem !== null && problem !== before?.problem) get().announce(problem);
    },

    setSparsity: (patch) => {
      const { activeId: chatId, chats } = get();
      const sparsity = { ...shownConfig(get()).sparsity, ...patch };
      const chat = chatId === null ? undefined : chats[chatId];
      if (chatId === null) get().configureChat(null, { sparsity });
      if (chatId === null || !chat) return;
      set((s) => ({ chats: { ...s.chats, [chatId]: { ...chat, sparsity } } }));
      if (lastChat !== chatId) void saves.flush();
      lastChat = chatId;
      saves.push({ chatId, sparsity });
    },

    flushSparsity: () => saves.flush(),

    calibrate: async () => {
      try {
        get().receiveSparsity(await api.sparsity.calibrate());
        get().announce('The model is measured.');
      } catch (error) {
        if (error instanceof HunchError && error.code === 'cancelled') get().announce('Measuring was cancelled.');
        get().report(error);
      }
    },

    cancelCalibration: () => void api.sparsity.cancelCalibration().catch(get().report),
  };
};
