import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { loadPack, type PackResult } from '../sparsity/store';
import type { ModelSpec } from './addon';

/** Reads the pack beside a model and compares the two; hashing the model takes seconds for large ones. Never rejects. */
export async function packBeside(spec: ModelSpec): Promise<PackResult> {
  try {
    return await loadPack(spec.path, { sha256: await hashOf(spec.path), spec });
  } catch (error) {
    return { pack: null, problem: `The model could not be compared with its sparsity pack (${String(error)}).` };
  }
}

/** By path, size and time: settings that load a model again must not read all of it again. */
const hashes = new Map<string, string>();

/** SHA-256 of a model's file. */
export async function hashOf(file: string): Promise<string> {
  const { size, mtimeMs } = await stat(file);
  const key = JSON.stringify([path.resolve(file), size, mtimeMs]);
  const known = hashes.get(key);
  if (known !== undefined) return known;
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer);
  const digest = hash.digest('hex');
  hashes.set(key, digest);
  return digest;
}
