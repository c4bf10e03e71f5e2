import type { GpuReport } from '../../electron/contract/devices';
import type { EngineStatus } from '../../electron/contract/entities';
import { formatBytes } from './format';

/** What the loaded model runs on; null while nothing is loaded. */
export function deviceWords(engine: Pick<EngineStatus, 'state' | 'device' | 'threads'> | null): string | null {
  if (engine?.state !== 'ready') return null;
  const { device, threads } = engine;
  return device ?? `CPU${threads === null ? '' : `, ${threads} ${threads === 1 ? 'thread' : 'threads'}`}`;
}

export const gpuWords = ({ name, memory, capability }: GpuReport['gpus'][number]): string =>
  `${name === '' ? 'A GPU without a name' : name}: ${formatBytes(memory)}, compute capability ${capability.toFixed(1)}`;
