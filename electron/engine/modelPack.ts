import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { findPack, loadPack, type PackResult } from '../sparsity/store';
import type { ModelSpec } from './addon';

/** Beside which path the pack of a model in `file` is written: in `folder`, where one is given, as if the model lay there. */
export function packTarget(file: string, folder: string | undefined): string {
  return folder === undefined ? file : path.join(folder, path.basename(file));
}

/** Beside which path there is one: the one made here before the one that came with the model. Null where there is none. */
export async function whereItsPackLies(file: string, folder?: string): Promise<string | null> {
  for (const place of new Set([packTarget(file, folder), file])) if (await findPack(place)) return place;
  return null;
}

/** Reads the pack beside `place` and compares it with the model; hashing that takes seconds for large ones. Never rejects. */
export async function readPack(spec: ModelSpec, place: string | null): Promise<PackResult> {
  if (place === null) return { pack: null, problem: null };
  try {
    return await loadPack(place, { sha256: await hashOf(spec.path), spec });
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
