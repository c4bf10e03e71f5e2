import type { EngineStatus, ModelSummary } from '../../electron/contract/entities';
import type { Download } from '../store/modelsSlice';
import { formatPercent } from './format';

export interface EngineSummary {
  name: string;
  detail: string;
  tone: 'ready' | 'busy' | 'problem' | 'off';
}

/** The engine's state in two or three words. */
export function engineSummary(
  engine: EngineStatus | null,
  models: ModelSummary[] | null,
  downloads: Record<string, Download>,
): EngineSummary {
  if (!engine || !models) return { name: 'Model', detail: 'starting', tone: 'busy' };
  const downloading = models.find((m) => m.state === 'downloading' || downloads[m.id]);
  const name = engine.modelName ?? models.find((m) => m.id === engine.modelId)?.name;
  if (engine.state === 'crashed') return { name: name ?? 'Engine', detail: 'stopped', tone: 'problem' };
  if (engine.error) return { name: name ?? 'No model', detail: 'not loaded', tone: 'problem' };
  if (engine.state === 'ready' && name) return { name, detail: 'ready', tone: 'ready' };
  if (engine.state === 'loading') {
    const progress = engine.loadProgress === null ? '' : ` ${formatPercent(engine.loadProgress)}`;
    return { name: name ?? 'Model', detail: `loading${progress}`, tone: 'busy' };
  }
  if (engine.state === 'starting') return { name: name ?? 'Engine', detail: 'starting', tone: 'busy' };
  if (downloading) {
    const d = downloads[downloading.id];
    const progress = d && d.totalBytes > 0 ? ` ${formatPercent(d.receivedBytes / d.totalBytes)}` : '';
    return { name: downloading.name, detail: `downloading${progress}`, tone: 'busy' };
  }
  return name ? { name, detail: 'not loaded', tone: 'off' } : { name: 'No model', detail: 'choose one', tone: 'off' };
}
