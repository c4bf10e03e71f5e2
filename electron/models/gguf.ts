import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import { HunchError } from '../contract/errors';
import type { ModelSpec, TensorInfo } from '../engine/addon';
import type { ExpectedTensor } from './architectures/index';
import { architectures } from './architectures/index';
import type { RawHeader } from './ggufReader';
import { readRawHeader } from './ggufReader';
import { Metadata } from './metadata';
import { checkPowerInferArchitecture, plainKeys, takePredictors, type FilePredictors } from './powerInfer';
import { supportedTensorTypes, tensorLayout, tensorTypeName } from './tensorTypes';
import type { Vocabulary } from './vocabulary';
import { readVocabulary } from './vocabulary';

/** Everything the app needs to know of a model file; the weights themselves stay in the file. */
export interface ModelFile {
  spec: ModelSpec;
  name: string; // general.name, else the file's name
  quantization: string; // the type that holds most of the bytes of the layers: 'Q4_1'
  license: string | null;
  sizeBytes: number;
  vocabulary: Vocabulary;
  chatTemplate: string | null;
  /** Of a PowerInfer file; null where there are none. `filePredictors.ts` reads them. */
  predictors: FilePredictors | null;
}

/** Kept because a large vocabulary takes a second to parse; small because each holds its vocabulary. */
const cache = new Map<string, Promise<ModelFile>>();
const cacheEntries = 4;

/**
 * Reads and checks a model file's header.
 * Errors: model-missing, model-not-gguf, model-truncated, model-unsupported, model-invalid.
 */
export async function readModelFile(file: string): Promise<ModelFile> {
  const fileName = path.basename(file);
  const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
    throw missing(file, error);
  });
  if (!info.isFile()) {
    throw new HunchError('model-missing', `${file} is not a file. Give the path of a .gguf file.`);
  }
  const key = JSON.stringify([path.resolve(file), info.size, info.mtimeMs]);
  const known = cache.get(key);
  if (known) return known;
  const reading = read(file, fileName, info.size);
  cache.set(key, reading);
  reading.catch(() => cache.delete(key));
  for (const oldest of cache.keys()) {
    if (cache.size <= cacheEntries) break;
    cache.delete(oldest);
  }
  return reading;
}

function missing(file: string, error: NodeJS.ErrnoException): HunchError {
  const why =
    error.code === 'EACCES' || error.code === 'EPERM'
      ? 'cannot be read: you have no permission. Change its permissions or choose another file.'
      : error.code === 'ENOENT' || error.code === 'ENOTDIR'
        ? 'does not exist. Check the path, or get the model with "hunch pull".'
        : `cannot be read (${error.code ?? error.message}).`;
  return new HunchError('model-missing', `The model file ${file} ${why}`, { cause: error });
}

async function read(file: string, fileName: string, size: number): Promise<ModelFile> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw missing(file, error);
  });
  let raw: RawHeader;
  try {
    raw = await readRawHeader(handle, size, fileName);
  } finally {
    await handle.close();
  }
  const metadata = new Metadata(fileName, raw.powerInfer ? plainKeys(raw.metadata) : raw.metadata);
  const architectureName = metadata.text('general.architecture');
  if (architectureName === undefined) throw metadata.invalid('general.architecture', "the architecture's name");
  if (raw.powerInfer) checkPowerInferArchitecture(fileName, architectureName);
  const architecture = Object.hasOwn(architectures, architectureName) ? architectures[architectureName] : undefined;
  if (!architecture) {
    throw new HunchError(
      'model-unsupported',
      `"${fileName}" is a model of the architecture "${architectureName}". Hunch runs: ${Object.keys(architectures).join(', ')}.`,
    );
  }
  if (metadata.integer('split.count', 0, 65_535, 0) > 1) {
    throw new HunchError(
      'model-unsupported',
      `"${fileName}" is one part of a model in ${metadata.show('split.count')} files. Merge the parts into one GGUF first.`,
    );
  }
  const vocabulary = readVocabulary(metadata);
  const dimensions = architecture.dimensions(metadata, vocabulary.tokens.length);
  const all = checkTensors(raw, fileName, size);
  const { tensors, predictors } = raw.powerInfer
    ? takePredictors(metadata, dimensions, all)
    : { tensors: all, predictors: null };
  checkShapes(architecture.tensors(dimensions), tensors, fileName, architectureName);
  return {
    spec: { path: path.resolve(file), architecture: architectureName, ...dimensions, tensors },
    name: metadata.text('general.name')?.trim() || fileName.replace(/\.gguf$/i, ''),
    quantization: mainType(tensors),
    license: metadata.text('general.license') ?? null,
    sizeBytes: size,
    vocabulary,
    chatTemplate: metadata.text('tokenizer.chat_template') ?? null,
    predictors,
  };
}

/** Types, names, places: each tensor lies whole within the file and over no other. */
function checkTensors(raw: RawHeader, fileName: string, size: number): TensorInfo[] {
  const damaged = (what: string): HunchError =>
    new HunchError('model-invalid', `"${fileName}" is damaged: ${what}. Get the file again.`);
  const names = new Set<string>();
  const places: { name: string; start: bigint; end: bigint }[] = [];
  const tensors = raw.tensors.map(({ name, shape, type, offset }): TensorInfo => {
    const layout = tensorLayout(type);
    if (!layout) {
      throw new HunchError(
        'model-unsupported',
        `"${fileName}" holds its tensor "${name}" as ${tensorTypeName(type)}. Hunch reads: ${supportedTensorTypes}. Choose another quantization of the model.`,
      );
    }
    if (names.has(name)) throw damaged(`it has two tensors named "${name}"`);
    names.add(name);
    const shown = `"${name}" [${shape.join(', ')}]`;
    if (shape.length < 1 || shape.length > 4 || shape.some((extent) => extent < 1n)) {
      throw damaged(`its tensor ${shown} has an impossible shape`);
    }
    const columns = shape[0] as bigint;
    if (columns % BigInt(layout.blockValues) !== 0n) {
      throw damaged(`the rows of its tensor ${shown} are not whole ${layout.type} blocks of ${layout.blockValues}`);
    }
    const values = shape.reduce((product, extent) => product * extent, 1n);
    const bytes = (values / BigInt(layout.blockValues)) * BigInt(layout.blockBytes);
    if (offset + bytes > BigInt(size)) {
      throw new HunchError(
        'model-truncated',
        `"${fileName}" is cut off: its tensor "${name}" needs the file to have ${offset + bytes} bytes, but it has ${size}. Download or copy the file again.`,
      );
    }
    places.push({ name, start: offset, end: offset + bytes });
    return { name, type: layout.type, shape: shape.map(Number), offset: Number(offset) };
  });
  places.sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  for (const [index, place] of places.entries()) {
    const next = places[index + 1];
    if (next && next.start < place.end) throw damaged(`its tensors "${place.name}" and "${next.name}" overlap`);
  }
  return tensors;
}

function checkShapes(expected: ExpectedTensor[], tensors: TensorInfo[], fileName: string, architecture: string): void {
  const left = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  for (const { name, shape, optional, alternative } of expected) {
    const wanted = !left.has(name) && alternative && left.has(alternative.name) ? alternative : { name, shape };
    const tensor = left.get(wanted.name);
    left.delete(wanted.name);
    if (!tensor) {
      if (optional) continue;
      throw new HunchError(
        'model-invalid',
        `"${fileName}" cannot be used: its tensor "${name}" is missing. Get the file again or choose another model.`,
      );
    }
    if (tensor.shape.join() !== wanted.shape.join()) {
      throw new HunchError(
        'model-invalid',
        `"${fileName}" contradicts itself: its tensor "${tensor.name}" is [${tensor.shape.join(', ')}], but its keys say [${wanted.shape.join(', ')}]. Get the file again.`,
      );
    }
  }
  const [unknown] = left.keys();
  if (unknown !== undefined) {
    throw new HunchError(
      'model-unsupported',
      `"${fileName}" has a tensor "${unknown}" that Hunch does not know in a ${architecture} model; ignoring it would give wrong answers. Choose another conversion of the model.`,
    );
  }
}

function mainType(tensors: TensorInfo[]): string {
  const values = new Map<string, number>();
  for (const { name, type, shape } of tensors) {
    if (!name.startsWith('blk.') || shape.length < 2) continue;
    values.set(type, (values.get(type) ?? 0) + shape.reduce((product, extent) => product * extent, 1));
  }
  return [...values].sort((a, b) => b[1] - a[1])[0]?.[0] ?? 'unknown';
}
