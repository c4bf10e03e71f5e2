import type { FileHandle } from 'node:fs/promises';
import type { TensorType } from '../../engine/addon';
import { tensorBytes, typeNumber } from './blockTypes';

/** Whole numbers are written as u32; `f32` marks a float. Typed arrays and lists of texts become lists. */
export type GgufValue = string | number | boolean | string[] | Int32Array | Float32Array | { f32: number };

export type GgufKeys = Record<string, GgufValue>;

export interface GgufTensor {
  name: string;
  /** ggml order: [0] is contiguous and a whole number of the type's blocks. */
  shape: number[];
  type: TensorType;
}

const alignment = 32; // bytes, GGUF's default
const valueType = { u32: 4, i32: 5, f32: 6, bool: 7, text: 8, list: 9 } as const;

const aligned = (bytes: number): number => Math.ceil(bytes / alignment) * alignment;

function u32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function u64(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}

function f32(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeFloatLE(value);
  return buffer;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([u64(bytes.length), bytes]);
}

function encode(value: GgufValue): Buffer {
  if (typeof value === 'string') return Buffer.concat([u32(valueType.text), text(value)]);
  if (typeof value === 'boolean') return Buffer.concat([u32(valueType.bool), Buffer.of(value ? 1 : 0)]);
  if (typeof value === 'number') return Buffer.concat([u32(valueType.u32), u32(value)]);
  const list = (type: number, length: number, items: Buffer[]): Buffer =>
    Buffer.concat([u32(valueType.list), u32(type), u64(length)].concat(items));
  if (Array.isArray(value)) return list(valueType.text, value.length, value.map(text));
  if (value instanceof Int32Array) return list(valueType.i32, value.length, [bytesOf(value)]);
  if (value instanceof Float32Array) return list(valueType.f32, value.length, [bytesOf(value)]);
  return Buffer.concat([u32(valueType.f32), f32(value.f32)]);
}

function bytesOf(array: Int32Array | Float32Array): Buffer {
  return Buffer.from(array.buffer, array.byteOffset, array.byteLength);
}

export interface GgufLayout {
  /** Everything before the weights, padded. */
  header: Buffer;
  /** Of each tensor, from the start of the file. */
  offsets: number[];
  fileBytes: number;
}

/** Version 3, little-endian, tensors one after the other in the order given. */
export function ggufLayout(keys: GgufKeys, tensors: readonly GgufTensor[]): GgufLayout {
  const relative: number[] = [];
  let dataBytes = 0;
  const entries = tensors.map(({ name, shape, type }) => {
    relative.push(dataBytes);
    const entry = [text(name), u32(shape.length), ...shape.map(u64), u32(typeNumber(type)), u64(dataBytes)];
    dataBytes += aligned(tensorBytes(type, shape));
    return Buffer.concat(entry);
  });
  const head = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(Object.keys(keys).length),
    ...Object.entries(keys).flatMap(([key, value]) => [text(key), encode(value)]),
    ...entries,
  ]);
  const header = Buffer.concat([head], aligned(head.length)); // concat fills up with zeros
  return { header, offsets: relative.map((offset) => header.length + offset), fileBytes: header.length + dataBytes };
}

/**
 * Writes a file. `content` gives a tensor's bytes in pieces, which may share one buffer: each is on disk before the next
 * is asked for. Throws when the pieces are not exactly as long as the tensor.
 */
export async function writeGguf(
  file: FileHandle,
  layout: GgufLayout,
  tensors: readonly GgufTensor[],
  content: (tensor: GgufTensor) => Iterable<Uint8Array>,
  onProgress?: (writtenBytes: number) => void,
): Promise<void> {
  const put = async (bytes: Uint8Array, position: number): Promise<void> => {
    for (let done = 0; done < bytes.length;) {
      done += (await file.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
    }
  };
  await put(layout.header, 0);
  for (const [index, tensor] of tensors.entries()) {
    const begin = layout.offsets[index] as number;
    const wanted = tensorBytes(tensor.type, tensor.shape);
    let written = 0;
    for (const piece of content(tensor)) {
      await put(piece, begin + written);
      written += piece.length;
      onProgress?.(begin + written);
    }
    if (written !== wanted) throw new Error(`${tensor.name}: ${written} bytes instead of ${wanted}`);
  }
  await file.truncate(layout.fileBytes); // the padding after the last tensor
}
