import type { FileHandle } from 'node:fs/promises';
import { HunchError } from '../contract/errors';
import type { TensorInfo, TensorType } from '../engine/addon';
import { allFinite, fromHalf } from '../floats';
import { layoutOf } from './tensorTypes';

/** All of a tensor's bytes to its values. */
type Decode = (bytes: DataView, out: Float32Array) => void;
/** The 32 values of the block that begins at byte `at`, to `out` from index `to` on. */
type DecodeBlock = (bytes: DataView, at: number, out: Float32Array, to: number) => void;

function blocks(blockBytes: number, decode: DecodeBlock): Decode {
  return (bytes, out) => {
    for (let at = 0, to = 0; to < out.length; at += blockBytes, to += 32) decode(bytes, at, out, to);
  };
}

/** Working a half out anew for every value takes longer than reading the file. */
const halves = Float32Array.from({ length: 65_536 }, (_, bits) => fromHalf(bits));
const half = (bytes: DataView, at: number): number => halves[bytes.getUint16(at, true)] as number;

/**
 * Blocks of 32 values of 4 or 5 bits: the f16 scale, the f16 offset (where there is one; else the middle is zero), a fifth bit for
 * each value (of 5 only), then the low bits: value i in the lower half of byte i, value i + 16 in the upper.
 */
function nibbles({ fifth, offset }: { fifth: boolean; offset: boolean }): Decode {
  const highAt = offset ? 4 : 2;
  const lowAt = highAt + (fifth ? 4 : 0);
  const middle = fifth ? 16 : 8;
  return blocks(lowAt + 16, (bytes, at, out, to) => {
    const scale = half(bytes, at);
    const zero = offset ? half(bytes, at + 2) : -middle * scale;
    const high = fifth ? bytes.getUint32(at + highAt, true) : 0;
    for (let i = 0; i < 16; i++) {
      const low = bytes.getUint8(at + lowAt + i);
      out[to + i] = scale * ((low & 15) | (((high >>> i) & 1) << 4)) + zero;
      out[to + i + 16] = scale * ((low >> 4) | (((high >>> (i + 16)) & 1) << 4)) + zero;
    }
  });
}

const decoders: Partial<Record<TensorType, Decode>> = {
  F32: (bytes, out) => {
    for (let i = 0; i < out.length; i++) out[i] = bytes.getFloat32(4 * i, true);
  },
  F16: (bytes, out) => {
    for (let i = 0; i < out.length; i++) out[i] = half(bytes, 2 * i);
  },
  BF16: (bytes, out) => {
    const patterns = new Uint32Array(out.buffer); // the upper halves of floats
    for (let i = 0; i < out.length; i++) patterns[i] = bytes.getUint16(2 * i, true) << 16;
  },
  Q8_0: blocks(34, (bytes, at, out, to) => {
    const scale = half(bytes, at);
    for (let i = 0; i < 32; i++) out[to + i] = scale * bytes.getInt8(at + 2 + i);
  }),
  Q4_0: nibbles({ fifth: false, offset: false }),
  Q4_1: nibbles({ fifth: false, offset: true }),
  Q5_0: nibbles({ fifth: true, offset: false }),
  Q5_1: nibbles({ fifth: true, offset: true }),
};

/**
 * A tensor's values in the file's order. Errors: model-unsupported (a type that only the engine reads), model-truncated,
 * model-invalid (a value that is no finite number).
 */
export async function readTensorValues(
  handle: FileHandle,
  { name, type, shape, offset }: TensorInfo,
  fileName: string,
): Promise<Float32Array> {
  const decode = decoders[type];
  if (!decode) {
    throw new HunchError(
      'model-unsupported',
      `The tensor "${name}" of "${fileName}" is ${type}; such tensors are read as ${Object.keys(decoders).join(', ')}. Choose another quantization of the model.`,
    );
  }
  const { blockValues, blockBytes } = layoutOf(type);
  const values = new Float32Array(shape.reduce((product, extent) => product * extent, 1));
  const bytes = Buffer.alloc((values.length / blockValues) * blockBytes);
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, offset);
  if (bytesRead < bytes.length) {
    throw new HunchError(
      'model-truncated',
      `"${fileName}" is cut off within its tensor "${name}". Download or copy the file again.`,
    );
  }
  decode(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), values);
  if (!allFinite(values)) {
    throw new HunchError(
      'model-invalid',
      `The tensor "${name}" of "${fileName}" holds a value that is no finite number. Get the file again or choose another model.`,
    );
  }
  return values;
}
