import { promisify } from 'node:util';
import { brotliCompress, brotliCompressSync, brotliDecompress, constants } from 'node:zlib';
import { maxFrameBytes } from '../contract/frames';

/** Tokens of a chunk at most. */
export const chunkTokens = 64;

/** 66 µs a frame of 20 KB, to 61 % of its size: deflate at its fastest took three times as long for no more. */
const options = { params: { [constants.BROTLI_PARAM_QUALITY]: 1, [constants.BROTLI_PARAM_LGWIN]: 18 } };
const compress = promisify<Uint8Array, typeof options, Buffer>(brotliCompress);
const decompress = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(brotliDecompress);
const mostBytes = chunkTokens * (maxFrameBytes + 4);

/** Each frame's length as u32, then its bytes; 0 where there is none. */
function join(frames: readonly (Uint8Array | null)[]): Uint8Array {
  const size = frames.reduce((sum, frame) => sum + 4 + (frame?.byteLength ?? 0), 0);
  const all = new Uint8Array(size);
  const view = new DataView(all.buffer);
  let at = 0;
  for (const frame of frames) {
    view.setUint32(at, frame?.byteLength ?? 0, true);
    at += 4;
    if (frame) all.set(frame, at);
    at += frame?.byteLength ?? 0;
  }
  return all;
}

/** Null: there is no frame among them. */
export async function packFrames(frames: readonly (Uint8Array | null)[]): Promise<Uint8Array | null> {
  return frames.some((frame) => frame) ? compress(join(frames), options) : null;
}

/** The same at once, where nothing can be waited for any more. */
export function packFramesNow(frames: readonly (Uint8Array | null)[]): Uint8Array | null {
  return frames.some((frame) => frame) ? brotliCompressSync(join(frames), options) : null;
}

/** `count` frames; all null where the bytes are not what `packFrames` made (a file changed by hand). */
export async function unpackFrames(packed: Uint8Array | null, count: number): Promise<(Uint8Array | null)[]> {
  const none = (): null[] => new Array<null>(count).fill(null);
  if (!packed) return none();
  let all: Uint8Array;
  try {
    all = await decompress(packed, { maxOutputLength: mostBytes });
  } catch {
    return none();
  }
  const view = new DataView(all.buffer, all.byteOffset, all.byteLength);
  const frames: (Uint8Array | null)[] = [];
  let at = 0;
  while (frames.length < count) {
    if (at + 4 > all.byteLength) return none();
    const size = view.getUint32(at, true);
    at += 4;
    if (size > all.byteLength - at) return none();
    // A copy: what is sent on must not carry the whole chunk's memory with it.
    frames.push(size > 0 ? new Uint8Array(all.subarray(at, at + size)) : null);
    at += size;
  }
  return frames;
}
