import type { Slice } from './store';

/** Where the keyboard should go next. A new object each time, so that a repeated wish is a new one. */
export interface FocusWish {
  target: 'composer' | 'search' | 'sparsity' | null;
}

export const settingsTabs = ['general', 'performance', 'models', 'defaults', 'about'] as const;
export type SettingsTab = (typeof settingsTabs)[number];

export interface UiSlice {
  settingsOpen: boolean;
  settingsTab: SettingsTab;
  modelPickerOpen: boolean;
  /** In a narrow window the sidebar and the panel are drawers over the conversation, and neither is remembered. */
  narrow: boolean;
  drawer: 'sidebar' | 'panel' | null;
  focusWish: FocusWish;
  /** Opened anew it begins with the first tab. */
  setSettingsOpen: (open: boolean, tab?: SettingsTab) => void;
  setSettingsTab: (tab: SettingsTab) => void;
  setModelPickerOpen: (open: boolean) => void;
  setNarrow: (narrow: boolean) => void;
  setDrawer: (drawer: UiSlice['drawer']) => void;
  toggleSidebar: () => void;
  togglePanel: () => void;
  wishFocus: (target: FocusWish['target']) => void;
  focusSearch: () => void;
  /** Shows the panel and goes to its slider. */
  focusSparsity: () => void;
}

export const createUiSlice: Slice<UiSlice> = (set, get) => ({
  settingsOpen: false,
  settingsTab: 'general',
  modelPickerOpen: false,
  narrow: false,
  drawer: null,
  focusWish: { target: null },
  setSettingsOpen: (settingsOpen, tab) =>
    set((s) => ({ settingsOpen, settingsTab: tab ?? (settingsOpen && !s.settingsOpen ? 'general' : s.settingsTab) })),
  setSettingsTab: (settingsTab) => set({ settingsTab }),
  setModelPickerOpen: (modelPickerOpen) => set({ modelPickerOpen }),
  setNarrow: (narrow) => set({ narrow, drawer: null }),
  setDrawer: (drawer) => set({ drawer }),
  toggleSidebar: () => {
    const { narrow, drawer, settings } = get();
    if (narrow) set({ drawer: drawer === 'sidebar' ? null : 'sidebar' });
    else void get().setSettings({ sidebarOpen: !settings?.sidebarOpen });
  },
  togglePanel: () => {
    const { narrow, drawer, settings } = get();
    if (narrow) set({ drawer: drawer === 'panel' ? null : 'panel' });
    else void get().setSettings({ panelOpen: !settings?.panelOpen });
  },
  wishFocus: (target) => set({ focusWish: { target } }),
  focusSearch: () => {
    if (get().narrow) set({ drawer: 'sidebar' });
    else if (!get().settings?.sidebarOpen) void get().setSettings({ sidebarOpen: true });
    get().wishFocus('search');
  },
  focusSparsity: () => {
    if (get().narrow) set({ drawer: 'panel' });
    else if (!get().settings?.panelOpen) void get().setSettings({ panelOpen: true });
    get().wishFocus('sparsity');
  },
});
