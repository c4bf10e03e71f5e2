import { Runtime } from '../engine/runtime';
import type { RuntimeInfo } from '../engine/runtime';
import { ModelLibrary } from '../models/library';
import type { ResolvedModel } from '../models/library';
import { modelsFolder } from '../paths';
import type { ModelOptions } from './options';
import { progressLine } from './output';

export const library = (): ModelLibrary => new ModelLibrary(modelsFolder());

export interface OpenOptions extends ModelOptions {
  /** RuntimeOptions.byNeuron */
  byNeuron?: boolean;
}

/** Opens the model that the options name. */
export async function openModel(
  options: OpenOptions,
  contextLength?: number,
): Promise<{ runtime: Runtime; resolved: ResolvedModel }> {
  const resolved = await library().resolve(options.model);
  return { runtime: await openResolved(resolved, options, contextLength), resolved };
}

export async function openResolved(
  { path, name, packFolder }: ResolvedModel,
  { threads, isa, device, gpuBudget, memory, byNeuron }: Omit<OpenOptions, 'model'>,
  contextLength?: number,
): Promise<Runtime> {
  const progress = progressLine();
  try {
    const runtime = await Runtime.open(path, {
      threads,
      packFolder,
      ...(isa ? { isa } : {}),
      ...(device ? { device } : {}),
      ...(gpuBudget === undefined ? {} : { gpuBudget }),
      ...(memory === undefined ? {} : { memoryBudget: memory }),
      ...(byNeuron === undefined ? {} : { byNeuron }),
      ...(contextLength === undefined ? {} : { contextLength }),
      onProgress: (fraction) => progress.show(`Loading ${name}: ${Math.floor(fraction * 100)} %`),
    });
    const { device: gpu, deviceNote } = runtime.info;
    if (deviceNote) process.stderr.write(`${gpu ? `On ${gpu}` : 'On the CPU'}: ${deviceNote}\n`);
    return runtime;
  } finally {
    progress.end();
  }
}

/** What a model runs on, in a line. */
export function machineOf({ device, isa, threads }: RuntimeInfo): string {
  return device || `${isa}, ${threads} threads`;
}

/** What a measurement was taken with, for its JSON. */
export function circumstances(runtime: Runtime, { id, name }: ResolvedModel): Record<string, unknown> {
  const { quantization, isa, threads, device } = runtime.info;
  return { model: { id, name, quantization, path: runtime.info.path }, isa, threads, ...(device ? { device } : {}) };
}

export interface ResidencyFigures {
  memoryNeurons: number;
  diskNeurons: number;
  memoryBytes: number;
  diskBytes: number;
  /** Of the neurons asked for, those that were in memory. */
  hitShare: number;
  readBytesPerToken: number;
  waitedSecondsPerToken: number;
}

/** What lay where in a measurement with --memory, for its JSON; what was read since the last call. */
export function residencyOf(runtime: Runtime, tokens: number): ResidencyFigures {
  const { memory, disk, memoryBytes, diskBytes, hits, misses, readBytes, waitedSeconds } = runtime.model.residency();
  const sum = (counts: Uint32Array): number => counts.reduce((total, count) => total + count, 0);
  return {
    ...{ memoryNeurons: sum(memory), diskNeurons: sum(disk), memoryBytes, diskBytes },
    hitShare: hits / Math.max(1, hits + misses),
    readBytesPerToken: readBytes / tokens,
    waitedSecondsPerToken: waitedSeconds / tokens,
  };
}
