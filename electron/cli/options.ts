import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { Device } from '../contract/devices';
import type { Isa } from '../engine/addon';
import { defaultModelId } from '../models/catalogue';

/** What every command that runs a model takes. */
export interface ModelOptions {
  model: string;
  threads: number;
  isa?: Isa;
  device?: Device;
  gpuBudget?: number;
  /** Bytes that weights may take; what does not fit comes from the disk. */
  memory?: number;
  json?: boolean;
}

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < min || number > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return number;
  };
}

export function decimal(min: number, max: number): (text: string) => number {
  return (text) => {
    const number = Number(text);
    if (text.trim() === '' || !(number >= min && number <= max)) {
      throw new InvalidArgumentError(`It must be a number from ${min} to ${max}.`);
    }
    return number;
  };
}

const units: Record<string, number> = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9, KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30 };

/** Bytes of `800MB`, `1.5GB` or `2GiB`. */
export function byteSize(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)\s*([KMG]?i?B)$/i.exec(text.trim()) ?? [];
  const bytes = Math.round(Number(number) * (units[unit?.toUpperCase() ?? ''] ?? NaN));
  if (bytes >= 1 && bytes <= 2 ** 50) return bytes;
  throw new InvalidArgumentError('It must be a size like 800MB or 1.5GB.');
}

export const jsonOption = (): Option => new Option('--json', 'print one JSON object instead of text');

export function withModelOptions(command: Command): Command {
  return command
    .addOption(new Option('-m, --model <path|id>', 'a .gguf file or a model of the list').default(defaultModelId))
    .addOption(
      new Option('-t, --threads <n>', 'threads; 0 = one per physical core').argParser(wholeNumber(0, 256)).default(0),
    )
    .addOption(
      new Option('--isa <name>', 'kernels to use instead of the best ones').choices([
        'scalar',
        'avx2',
        'avx512',
        'neon',
      ]),
    )
    .addOption(
      new Option('--device <name>', 'where it runs; auto: on a GPU where one can be used').choices([
        'cpu',
        'cuda',
        'auto',
      ]),
    )
    .addOption(
      new Option(
        '--gpu-budget <size>',
        "of the GPU's memory, what weights may take (3GB); a larger model is divided between GPU and CPU",
      ).argParser(byteSize),
    )
    .addOption(
      new Option(
        '--memory <size>',
        'what weights may take, e.g. 800MB; the neurons beyond it come from disk',
      ).argParser(byteSize),
    )
    .addOption(jsonOption());
}
