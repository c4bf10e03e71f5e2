import type { EngineStatus, Settings } from '../../electron/contract/entities';

/** cpu: run on the CPU. less: give the GPU a smaller part of the model. */
export type GpuRemedy = 'cpu' | 'less';

/** What can be offered with an error, as things stand now. */
export function gpuRemedies(
  code: string | undefined,
  engine: Pick<EngineStatus, 'device'> | null,
  settings: Pick<Settings, 'device'> | null,
): GpuRemedy[] {
  if (!settings || settings.device === 'cpu') return [];
  if (code === 'gpu-unavailable' || code === 'gpu-failed') return ['cpu'];
  // Elsewhere it is main memory that was short. With Automatic a load that finds too little on the GPU goes to the CPU by itself.
  const onGpu = (engine?.device ?? null) !== null || settings.device === 'cuda';
  return code === 'out-of-memory' && onGpu ? ['cpu', 'less'] : [];
}
