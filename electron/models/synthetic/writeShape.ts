import { mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises';
import { homedir } from 'node:os';
import path from 'node:path';
import { HunchError } from '../../contract/errors';
import type { TensorType } from '../../engine/addon';
import { RandomWords, randomWeights } from './blockTypes';
import type { GgufKeys, GgufTensor } from './ggufWriter';
import { ggufLayout, writeGguf } from './ggufWriter';
import type { Shape } from './shapes';
import { shapeTensors, syntheticLabel } from './shapes';
import { syntheticVocabulary } from './vocabulary';

const version = 1; // in the file's name: another content is another file

/** Where such files are kept between runs; they can be deleted at any time. */
export function shapesFolder(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(env['XDG_CACHE_HOME'] || path.join(homedir(), '.cache'), 'hunch', 'shapes');
}

export interface WriteShapeOptions {
  folder?: string;
  onProgress?: (writtenBytes: number, totalBytes: number) => void;
}

/**
 * A GGUF of this shape with random weights, written unless the folder has it; returns its path. It appears under its name
 * only when it is whole. The same shape and type give the same bytes every time. Error: disk-full.
 */
export async function writeShape(shape: Shape, type: TensorType, options: WriteShapeOptions = {}): Promise<string> {
  const folder = options.folder ?? shapesFolder();
  const kind = shape.architecture === 'gpt2' ? '-as-gpt2' : shape.byNeuron ? '-by-neuron' : '';
  const file = path.join(folder, `${shape.name}${kind}-${type.toLowerCase()}-v${version}.gguf`);
  const tensors = shapeTensors(shape, type);
  const layout = ggufLayout(keysOf(shape), tensors);
  const existing = await stat(file).catch(() => null);
  if (existing?.size === layout.fileBytes) return file;

  await mkdir(folder, { recursive: true });
  await checkSpace(file, layout.fileBytes);
  const fresh = `${file}.${process.pid}.part`;
  try {
    const handle = await open(fresh, 'w');
    try {
      const random = new RandomWords();
      await writeGguf(
        handle,
        layout,
        tensors,
        (tensor) => contentOf(tensor, random),
        (written) => options.onProgress?.(written, layout.fileBytes),
      );
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(fresh, file);
  } catch (error) {
    await rm(fresh, { force: true });
    if ((error as NodeJS.ErrnoException).code === 'ENOSPC') throw diskFull(file, layout.fileBytes, 0);
    throw error;
  }
  return file;
}

function keysOf({ name, architecture, keys, vocabulary }: Shape): GgufKeys {
  return {
    'general.architecture': architecture,
    'general.name': `${name} shape (${syntheticLabel})`,
    ...keys,
    ...syntheticVocabulary(vocabulary),
  };
}

/** Norms of 1, biases of 0; matrices whose products keep the size of what they are given. */
function* contentOf({ name, shape, type }: GgufTensor, random: RandomWords): Generator<Uint8Array> {
  const columns = shape[0] as number;
  if (shape.length > 1) yield* randomWeights(type, shape, 1 / Math.sqrt(columns), random);
  else yield new Uint8Array(new Float32Array(columns).fill(name.endsWith('norm.weight') ? 1 : 0).buffer);
}

async function checkSpace(file: string, bytes: number): Promise<void> {
  const { bavail, bsize } = await statfs(path.dirname(file));
  const spare = 256e6; // what other programs may write meanwhile
  if (bavail * bsize < bytes + spare) throw diskFull(file, bytes, bavail * bsize);
}

function diskFull(file: string, bytes: number, free: number): HunchError {
  const gigabytes = (count: number): string => `${(count / 1e9).toFixed(1)} GB`;
  return new HunchError(
    'disk-full',
    `${file} needs ${gigabytes(bytes)}, but ${path.dirname(file)} has ${gigabytes(free)} free. Delete other files there, or set XDG_CACHE_HOME to a folder on a larger disk.`,
  );
}
