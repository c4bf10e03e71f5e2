import type { Edit, RerunRequest } from '../../electron/contract/activity';
import { HunchError } from '../../electron/contract/errors';
import { editWords, withEdit } from '../activity/edits';
import { runSource, type Source } from '../activity/source';
import { api } from '../api';
import type { Slice } from './store';

export interface ActivityRunsSlice {
  /** What a regenerated reply is to do without. */
  edits: Edit[];
  /** What runs now, in words; null when nothing does. */
  rerunning: string | null;
  /** Beside the source that is looked at; null = nothing. */
  compareId: string | null;
  /** Tokens after the one that is looked at. */
  compareShift: number;
  addEdit: (edit: Edit) => void;
  removeEdit: (index: number) => void;
  clearEdits: () => void;
  /** Null when it failed (which was reported) or was cancelled. */
  rerun: (request: RerunRequest, label: string) => Promise<Source | null>;
  cancelRerun: () => void;
  compareWith: (sourceId: string | null, shift?: number) => void;
}

/** Runs are kept in memory, frames and all. */
const keptRuns = 8;

export const createActivityRunsSlice: Slice<ActivityRunsSlice> = (set, get) => ({
  edits: [],
  rerunning: null,
  compareId: null,
  compareShift: 0,

  addEdit: (edit) => {
    set((s) => ({ edits: withEdit(s.edits, edit) }));
    get().announce(`Added: ${editWords(edit)}.`);
  },
  removeEdit: (index) => set((s) => ({ edits: s.edits.filter((_, i) => i !== index) })),
  clearEdits: () => set({ edits: [] }),

  rerun: async (request, label) => {
    if (get().rerunning !== null) return null;
    set({ rerunning: label });
    get().announce(`${label}: started.`);
    try {
      const source = runSource(await api.activity.rerun(request), label, request.messageId, request.edits);
      const runs = Object.values(get().sources).filter(({ kind }) => kind === 'run');
      for (const old of runs.slice(0, Math.max(0, runs.length - keptRuns + 1))) {
        if (old.id === get().sourceId || old.id === get().compareId) continue;
        set((s) => {
          const { [old.id]: _, ...sources } = s.sources;
          return { sources };
        });
      }
      get().addSource(source);
      get().announce(`${label}: done.`);
      return source;
    } catch (error) {
      if (error instanceof HunchError && error.code === 'cancelled') get().announce(`${label}: cancelled.`);
      get().report(error);
      return null;
    } finally {
      set({ rerunning: null });
    }
  },

  cancelRerun: () => void api.activity.cancelRerun().catch(get().report),
  compareWith: (compareId, compareShift = 0) => set({ compareId, compareShift }),
});
