import { gguf } from '@huggingface/gguf';
import type { FileHandle } from 'node:fs/promises';
import { HunchError } from '../contract/errors';

/** What real models stay far below; anything beyond is refused before it is read. */
export const headerCaps = {
  bytes: 24 * 2 ** 20, // a vocabulary of 262,144 with merges takes about 17 MB
  tensors: 65_536,
  keys: 10_000,
  milliseconds: 10_000, // a list is parsed anew with every 2 MB of it, so hostile ones cost time
};
const readAhead = 2_000_000; // bytes, the library's block
const smallestTensorEntry = 24; // bytes: name length, dimension count, type, offset
const smallestKeyEntry = 13; // bytes: name length, type, one byte of value

/** PowerInfer's files are GGUFs but for it. */
const powerInferMagic = 'PWRI';

export interface RawHeader {
  powerInfer: boolean; // by the file's first letters
  metadata: Record<string, unknown>;
  tensors: { name: string; shape: bigint[]; type: number; offset: bigint }[]; // offset from the start of the file
}

/** Magic, version and counts decide whether the rest may be parsed at all. Returns the magic. */
async function checkPreamble(file: FileHandle, size: number, fileName: string): Promise<string> {
  const head = Buffer.alloc(24);
  const { bytesRead } = await file.read(head, 0, 24, 0);
  const magic = head.toString('latin1', 0, 4);
  if (bytesRead < 4 || (magic !== 'GGUF' && magic !== powerInferMagic)) {
    throw new HunchError(
      'model-not-gguf',
      `"${fileName}" is not a GGUF model (it does not start with the letters GGUF). Hunch runs models in the GGUF format only.`,
    );
  }
  if (bytesRead < 24) throw headerCutOff(fileName, size);
  const version = head.readUInt32LE(4);
  if (version !== 2 && version !== 3) {
    const shown = (version & 0xffff) === 0 ? `big-endian version ${head.readUInt32BE(4)}` : `version ${version}`;
    throw new HunchError(
      'model-unsupported',
      `"${fileName}" is a GGUF of ${shown}; Hunch reads little-endian versions 2 and 3. Get a newer conversion of the model.`,
    );
  }
  const tensors = head.readBigUInt64LE(8);
  const keys = head.readBigUInt64LE(16);
  const needed = 24n + tensors * BigInt(smallestTensorEntry) + keys * BigInt(smallestKeyEntry);
  if (tensors > headerCaps.tensors || keys > headerCaps.keys || needed > size) {
    throw new HunchError(
      'model-invalid',
      `"${fileName}" is damaged: its header announces ${tensors} tensors and ${keys} keys in a file of ${size} bytes. Get the file again.`,
    );
  }
  return magic;
}

function headerCutOff(fileName: string, size: number): HunchError {
  return new HunchError(
    'model-truncated',
    `"${fileName}" is cut off: its ${size} bytes end inside the header. Download or copy the file again.`,
  );
}

/**
 * Reads a GGUF's header with the library, which sees the file only through this function: no more than `headerCaps.bytes`
 * and nothing past its end. The library's own limits bound strings (10 MB), lists (1 M) and nesting (4).
 * Errors: model-not-gguf, model-unsupported (version), model-truncated, model-invalid.
 */
export async function readRawHeader(file: FileHandle, size: number, fileName: string): Promise<RawHeader> {
  const powerInfer = (await checkPreamble(file, size, fileName)) === powerInferMagic;

  const begin = performance.now();
  const read = async (_url: unknown, request?: { headers?: unknown }): Promise<unknown> => {
    const range = String((request?.headers as Record<string, string> | undefined)?.['Range']);
    const [start, end] = (/^bytes=(\d+)-(\d+)$/.exec(range) ?? []).slice(1).map(Number) as [number, number];
    // The library reads ahead, so one block past the end is no proof yet; the check of the end below is.
    if (start >= size + readAhead) throw headerCutOff(fileName, size);
    if (end >= headerCaps.bytes || performance.now() - begin > headerCaps.milliseconds) {
      throw new HunchError(
        'model-invalid',
        `"${fileName}" has a header of more than ${headerCaps.bytes >> 20} MB, or one that takes more than ${headerCaps.milliseconds / 1000} s to read, far beyond any real model's. Get the file again.`,
      );
    }
    const buffer = Buffer.alloc(Math.max(Math.min(end + 1, size) - start, 0));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, start);
    if (powerInfer && start === 0) buffer.write('GGUF', 'latin1'); // the library knows no other magic
    const contentRange = `bytes ${start}-${start + bytesRead - 1}/${size}`;
    return { headers: { get: () => contentRange }, arrayBuffer: async () => buffer.subarray(0, bytesRead) };
  };

  let parsed;
  try {
    parsed = await gguf('https://local.invalid/model.gguf', { fetch: read as typeof fetch });
  } catch (error) {
    if (error instanceof HunchError) throw error;
    if (error instanceof RangeError) throw headerCutOff(fileName, size); // it looked for bytes that are not there
    throw new HunchError(
      'model-invalid',
      `"${fileName}" is damaged: its header cannot be read (${(error as Error).message}). Get the file again.`,
      { cause: error },
    );
  }
  if (parsed.tensorInfoByteRange[1] > size) throw headerCutOff(fileName, size);

  const metadata = parsed.metadata as Record<string, unknown>;
  const alignment = Number(metadata['general.alignment'] ?? 32);
  if (!(alignment >= 8 && alignment <= 65_536) || (alignment & (alignment - 1)) !== 0) {
    throw new HunchError(
      'model-invalid',
      `"${fileName}" cannot be used: its key "general.alignment" is ${alignment}, but must be a power of two from 8 to 65536. Get the file again.`,
    );
  }
  return {
    powerInfer,
    metadata,
    tensors: parsed.tensorInfos.map(({ name, shape, dtype, offset }) => ({
      name,
      shape,
      type: dtype,
      offset: parsed.tensorDataOffset + offset,
    })),
  };
}
