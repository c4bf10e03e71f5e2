import { FramesFileError, readFramesFile } from '../activity/framesFile';
import { api } from '../api';
import type { Slice } from './store';

export type ExportFormat = 'png' | 'svg' | 'csv' | 'json' | 'hunchframes';

export interface ActivityFilesSlice {
  /** Records that came with an imported file, by source and token. */
  importedRecords: Record<string, Map<number, Uint8Array>>;
  /** Saves what `make` gives; a failure is reported. */
  saveActivity: (name: string, extension: ExportFormat, make: () => Promise<Uint8Array>) => Promise<void>;
  openActivity: () => Promise<void>;
}

export const createActivityFilesSlice: Slice<ActivityFilesSlice> = (set, get) => ({
  importedRecords: {},

  saveActivity: async (name, extension, make) => {
    try {
      const saved = await api.activity.save({ name, extension, bytes: await make() });
      if (saved) get().notify(`Saved to ${saved.path}`);
    } catch (error) {
      get().report(error);
    }
  },

  openActivity: async () => {
    try {
      const file = await api.activity.open();
      if (!file) return;
      const { source, records } = readFramesFile(file.bytes, crypto.randomUUID(), file.name);
      if (source.track.framed === 0) throw new FramesFileError(`“${file.name}” holds no frames.`);
      get().addSource(source);
      set((s) => ({ importedRecords: { ...s.importedRecords, [source.id]: records } }));
      await get().lookAt(source.id, Math.min(1, source.track.length - 1));
      get().announce(`Imported ${file.name}.`);
    } catch (error) {
      get().report(error);
    }
  },
});
