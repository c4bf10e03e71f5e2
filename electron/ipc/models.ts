import type { EngineStatus, ModelSummary } from '../contract/entities';
import type { AppEvent } from '../contract/events';
import type { ModelLibrary } from '../models/library';
import type { DomainHandlers } from './dispatch';

export interface ModelDependencies {
  library: Pick<ModelLibrary, 'list' | 'download' | 'cancelDownload' | 'import'>;
  engine: { readonly status: EngineStatus; select(modelId: string): Promise<EngineStatus> };
  makeDefault(modelId: string): void;
  broadcast(event: AppEvent): void;
  /** Asks for a .gguf file; null when the person cancels. */
  askModelFile(): Promise<string | null>;
  log(line: string): void;
  now?: () => number;
}

/** Ten a second are enough for a progress bar. */
const progressIntervalMs = 100;

export function modelHandlers(deps: ModelDependencies): DomainHandlers<'models'> {
  const { library, engine, broadcast, log, now = Date.now } = deps;

  const announce = async (): Promise<ModelSummary[]> => {
    const models = await library.list();
    broadcast({ type: 'models', models });
    return models;
  };

  /** The engine waited for exactly this model (the first start, or a file that was broken). */
  const loadIfAwaited = (modelId: string): void => {
    if (engine.status.state !== 'stopped' || engine.status.modelId !== modelId) return;
    engine.select(modelId).catch((error: unknown) => log(`models: ${modelId} not loaded: ${String(error)}`));
  };

  return {
    'models.list': () => library.list(),
    'models.select': async ({ modelId }) => {
      const status = await engine.select(modelId);
      deps.makeDefault(modelId);
      return status;
    },
    'models.download': async ({ modelId }) => {
      let last = Number.NEGATIVE_INFINITY;
      const download = library.download(modelId, {
        onProgress: ({ receivedBytes, totalBytes, source }) => {
          if (now() - last < progressIntervalMs && receivedBytes < totalBytes) return;
          last = now();
          broadcast({ type: 'download', modelId, receivedBytes, totalBytes, source });
        },
      });
      try {
        await Promise.race([download, announce()]); // now shown as downloading
        const model = await download;
        loadIfAwaited(modelId);
        return model;
      } finally {
        await announce();
      }
    },
    'models.cancelDownload': ({ modelId }) => {
      library.cancelDownload(modelId);
      return null;
    },
    'models.import': async () => {
      const file = await deps.askModelFile();
      if (file === null) return null;
      const model = await library.import(file);
      await announce();
      loadIfAwaited(model.id);
      return model;
    },
  };
}
