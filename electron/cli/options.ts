import { InvalidArgumentError, Option } from 'commander';
import type { Command } from 'commander';
import type { Device, Isa } from '../engine/addon';
import { defaultModelId } from '../models/catalogue';

/** What every command that runs a model takes. */
export interface ModelOptions {
  model: string;
  threads: number;
  isa?: Isa;
  device?: Device;
  gpuBudget?: number;
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

/** '3GB', '800 MB' or a number of bytes; units are powers of ten. */
export function byteCount(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(B|KB|MB|GB)?$/i.exec(text.trim());
  const unit = { B: 1, KB: 1e3, MB: 1e6, GB: 1e9 }[match?.[2]?.toUpperCase() ?? 'B'] ?? 1;
  const bytes = Math.round(Number(match?.[1]) * unit);
  if (!match || bytes < 1 || bytes > 1e15) {
    throw new InvalidArgumentError('It must be an amount of memory, such as 3GB or 800MB.');
  }
  return bytes;
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
      ).argParser(byteCount),
    )
    .addOption(jsonOption());
}
