import type { GpuReport } from '../../electron/contract/devices';
import { HunchError } from '../../electron/contract/errors';
import { api } from '../api';
import type { Slice } from './store';

export interface DevicesSlice {
  /** null until somebody has looked. */
  gpus: GpuReport | null;
  /** Null when it failed, which was reported. */
  lookForGpus: () => Promise<GpuReport | null>;
  /** From now on; the model is loaded anew. False: it could not be set, which was reported. */
  runOnCpu: () => Promise<boolean>;
  /** Halves what may be used of the GPU's memory; answers as `runOnCpu`. */
  useLessGpuMemory: () => Promise<boolean>;
}

export const createDevicesSlice: Slice<DevicesSlice> = (set, get) => {
  const tell = (sentence: string): void =>
    get().notify(sentence, { label: 'Settings', run: () => get().setSettingsOpen(true, 'performance') });

  return {
    gpus: null,

    lookForGpus: async () => {
      try {
        const gpus = await api.engine.gpus();
        set({ gpus });
        return gpus;
      } catch (error) {
        get().report(error);
        return null;
      }
    },

    runOnCpu: async () => {
      await get().setSettings({ device: 'cpu' });
      const done = get().settings?.device === 'cpu';
      if (done) tell('Models now run on the CPU.');
      return done;
    },

    useLessGpuMemory: async () => {
      let whole = get().settings?.gpuBudgetMb ?? 0;
      if (whole === 0) {
        const report = await get().lookForGpus();
        if (!report) return false;
        whole = Math.floor(Math.max(0, ...report.gpus.map((gpu) => (gpu.usable ? gpu.memory : 0))) / 2 ** 20);
        if (whole === 0) {
          get().report(new HunchError('gpu-unavailable', report.problem || 'There is no GPU that can be used.'));
          return false;
        }
      }
      const gpuBudgetMb = Math.max(1, Math.floor(whole / 2));
      await get().setSettings({ gpuBudgetMb });
      const done = get().settings?.gpuBudgetMb === gpuBudgetMb;
      if (done) tell(`Hunch now uses at most ${gpuBudgetMb.toLocaleString('en')} MB of the GPU’s memory.`);
      return done;
    },
  };
};
