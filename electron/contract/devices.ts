import { z } from 'zod';

/** Where a model runs. cuda: an NVIDIA GPU, an error where that cannot be; auto: such a GPU where one can be used, else the CPU. */
export const devices = ['auto', 'cpu', 'cuda'] as const;
export type Device = (typeof devices)[number];

/** What NVIDIA GPUs there are, and why one cannot be used. */
export const gpuReportSchema = z.object({
  built: z.boolean(), // with CUDA kernels
  driver: z.string(), // the CUDA version of NVIDIA's driver; empty without one
  gpus: z.array(
    z.object({
      name: z.string(),
      memory: z.number(), // bytes
      capability: z.number(), // 7.5
      usable: z.boolean(),
      problem: z.string(), // a sentence; empty where usable
    }),
  ),
  problem: z.string(), // why there is none
});
export type GpuReport = z.infer<typeof gpuReportSchema>;

const counts = z.custom<Uint32Array>((value) => value instanceof Uint32Array);

/** Where a model's neurons lie now, and what fetching them cost since the last time somebody asked. */
export const residencySchema = z.object({
  /** By layer: neurons on the GPU; else in main memory; else on disk only. */
  gpu: counts,
  memory: counts,
  disk: counts,
  /** Of weights that lie there. */
  gpuBytes: z.number(),
  memoryBytes: z.number(),
  diskBytes: z.number(),
  /** Neurons asked for that were in memory; that were not. */
  hits: z.number(),
  misses: z.number(),
  /** From the disk. */
  readBytes: z.number(),
  /** That tokens stood still for the disk. */
  waitedSeconds: z.number(),
});
export type Residency = z.infer<typeof residencySchema>;
