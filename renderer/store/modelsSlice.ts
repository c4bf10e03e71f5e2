import type { EngineStatus, ModelSummary } from '../../electron/contract/entities';
import { api } from '../api';
import type { Slice } from './store';

export interface Download {
  receivedBytes: number;
  totalBytes: number;
  source: string;
}

export interface ModelsSlice {
  /** null until the main process has answered. */
  models: ModelSummary[] | null;
  engine: EngineStatus | null;
  downloads: Record<string, Download>;
  receiveModels: (models: ModelSummary[]) => void;
  receiveEngine: (status: EngineStatus) => void;
  receiveDownload: (modelId: string, download: Download) => void;
  selectModel: (modelId: string) => Promise<void>;
  /** Downloads, then loads: a person who asks for a model wants to use it. */
  downloadModel: (modelId: string) => Promise<void>;
  cancelDownload: (modelId: string) => Promise<void>;
  importModel: () => Promise<void>;
  restartEngine: () => Promise<void>;
}

export const createModelsSlice: Slice<ModelsSlice> = (set, get) => {
  const forget = (modelId: string): void =>
    set((s) => {
      const { [modelId]: _, ...downloads } = s.downloads;
      return { downloads };
    });

  return {
    models: null,
    engine: null,
    downloads: {},
    receiveModels: (models) => set({ models }),
    receiveEngine: (engine) => {
      const before = get().engine;
      set({ engine });
      if (engine.state === 'ready' && before && before.state !== 'ready') {
        get().announce(`${engine.modelName ?? 'The model'} is ready.`);
      }
    },
    receiveDownload: (modelId, download) => set((s) => ({ downloads: { ...s.downloads, [modelId]: download } })),
    selectModel: async (modelId) => {
      try {
        set({ engine: await api.models.select(modelId) });
        const { activeId, chats } = get();
        // A chat that is tied to another model follows the choice made while it is open.
        if (activeId && chats[activeId]?.modelId) get().configureChat(activeId, { modelId });
      } catch (error) {
        get().report(error);
      }
    },
    downloadModel: async (modelId) => {
      try {
        await api.models.download(modelId);
        await get().selectModel(modelId);
      } catch (error) {
        get().report(error);
      } finally {
        forget(modelId);
      }
    },
    cancelDownload: async (modelId) => {
      try {
        await api.models.cancelDownload(modelId);
      } catch (error) {
        get().report(error);
      }
    },
    importModel: async () => {
      try {
        const model = await api.models.import();
        if (model) await get().selectModel(model.id);
      } catch (error) {
        get().report(error);
      }
    },
    restartEngine: async () => {
      try {
        set({ engine: await api.engine.restart() });
      } catch (error) {
        get().report(error);
      }
    },
  };
};
