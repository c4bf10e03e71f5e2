import type { AppInfo, Settings } from '../../electron/contract/entities';
import { api } from '../api';
import type { Slice } from './store';

export interface SettingsSlice {
  /** null until the main process has answered. */
  settings: Settings | null;
  appInfo: AppInfo | null;
  setSettings: (patch: Partial<Settings>) => Promise<void>;
  receiveSettings: (settings: Settings) => void;
}

/** Saves under way: an answer or broadcast to an older one must not undo a newer choice on the screen. */
let pending = 0;

export const createSettingsSlice: Slice<SettingsSlice> = (set, get) => ({
  settings: null,
  appInfo: null,
  setSettings: async (patch) => {
    const before = get().settings;
    if (!before) return;
    set({ settings: { ...before, ...patch } });
    pending += 1;
    try {
      const saved = await api.settings.set(patch);
      if (pending === 1) set({ settings: saved });
    } catch (error) {
      set({ settings: before });
      get().report(error);
    } finally {
      pending -= 1;
    }
  },
  receiveSettings: (settings) => {
    if (pending === 0) set({ settings });
  },
});
