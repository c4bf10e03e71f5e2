import { readFile } from 'node:fs/promises';
import { InvalidArgumentError, Option } from 'commander';
import prompts from '../../assets/calibration/prompts.json';
import { HunchError } from '../contract/errors';
import { stopAt, stopNames, stopPosition } from '../contract/sparsity';
import type { Plan } from '../engine/addon';
import type { Runtime } from '../engine/runtime';
import { parseSparsity } from '../sparsity/position';

/** What every command that may skip parts of the model takes. */
export interface SparsityOptions {
  /** Place of the slider, 0…1; default: dense. */
  sparsity?: number;
}

const says = `how much to skip: ${stopNames.join(', ')}, or 0.0 to 1.0`;

export function sparsityOption(): Option {
  return new Option('--sparsity <stop|x>', says).argParser(placeOfSlider);
}

export function benchSparsityOption(): Option {
  return new Option('--sparsity <stop|x|all>', `${says}; all: every stop, with what it does to --text`).argParser(
    (text): number | 'all' => (text === 'all' ? text : placeOfSlider(text)),
  );
}

function placeOfSlider(text: string): number {
  try {
    return parseSparsity(text);
  } catch (error) {
    throw error instanceof HunchError ? new InvalidArgumentError(error.message) : error;
  }
}

/** The plan at a place of a model's slider; null = dense. Errors: bad-request (a stop that the model lacks). */
export function planFor(runtime: Runtime, position: number | undefined): Plan | null {
  if (position === undefined || position === 0) return null;
  const { stops, problem } = runtime.sparsity.state;
  const stop = stopAt(position);
  if (stop ? stops.includes(stop) : stops.length > 1) return runtime.sparsity.planAt(position);
  const { name, path } = runtime.info;
  const calibrate = `"hunch calibrate --model ${path}"`;
  if (stop === 'exact' && runtime.spec.activation !== 'relu' && runtime.spec.activation !== 'drelu') {
    throw new HunchError(
      'bad-request',
      `${name} has no stop exact: its neurons are never zero, so nothing can be skipped without a trace. It has ${stops.join(', ')}` +
        (stops.length > 1 ? '.' : `; ${calibrate} looks for more.`),
    );
  }
  const has = stops.length > 1 ? `only ${stops.join(', ')}` : 'only dense';
  throw new HunchError(
    'bad-request',
    `${name} has no stop ${stop ?? `at ${position}`}, ${has}. ` +
      (problem ?? `Run ${calibrate} to measure what it can skip on this machine.`),
  );
}

/** As JSON and as a word of the summary. */
export function placeOf(runtime: Runtime, position: number | undefined): string {
  const sparsity = { position: position ?? stopPosition('dense'), correction: false, speculation: false };
  return runtime.sparsity.nameOf(sparsity);
}

/** A text to run where none was given: fixed ids would wake other neurons than language does. */
export function plainText(runtime: Runtime): Promise<number[]> {
  return runtime.tokenizer.encode(prompts.chats.join('\n'), { parseSpecial: false });
}

/** Tokens of a file, after BOS if the model wants it. Errors: bad-request (unreadable, shorter than `least`). */
export async function textTokens({ tokenizer }: Runtime, file: string, least = 1): Promise<Int32Array> {
  const content = await readFile(file, 'utf8').catch((error: Error) => {
    throw new HunchError('bad-request', `The text file ${file} cannot be read (${error.message}).`);
  });
  const ids = await tokenizer.encode(content, { parseSpecial: false });
  if (ids.length < least) {
    throw new HunchError(
      'bad-request',
      `${file} has ${ids.length} tokens; at least ${least} are needed. Give a longer text.`,
    );
  }
  return Int32Array.from(tokenizer.addBos && tokenizer.bos !== null ? [tokenizer.bos, ...ids] : ids);
}
