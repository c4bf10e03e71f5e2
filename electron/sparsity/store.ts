import { randomUUID } from 'node:crypto';
import { mkdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { HunchError } from '../contract/errors';
import type { Predictors } from '../engine/addon';
import { fileError } from '../files';
import { predictorKinds } from './names';
import { encodePredictors } from './onnx';
import { predictorsFile } from './onnxChains';
import { checkPack, type Pack } from './pack';
import { quote, remakePack } from './packError';
import { caps, checkFiles, jsonFile, readFolder, sha256, type PackTarget } from './packFiles';
import { readZip } from './packZip';
import { removeLeftovers, retired, syncFolder, takePlace, unfinished, writeWhole } from './takePlace';

export interface LoadedPack {
  info: Pack;
  /** Null where the pack has none. */
  predictors: Predictors | null;
  path: string;
}

/** Problem: a sentence on why the pack beside the model is not used; both are null where there is none. */
export type PackResult = { pack: LoadedPack; problem: null } | { pack: null; problem: string | null };

/** Where a model's pack is written: the folder `<name>.hunchpack` beside `<name>.gguf`. */
export function packPath(modelPath: string): string {
  const { dir, base } = path.parse(modelPath);
  return path.join(dir, `${base.replace(/\.gguf$/i, '')}.hunchpack`);
}

/** The pack beside a model: the folder, a zip in its place, or `<name>.hunchpack.zip`. Null where there is none. */
export async function findPack(modelPath: string): Promise<{ path: string; zip: boolean } | null> {
  const place = packPath(modelPath);
  // The last one: a new pack was written, and the process died before it got its name.
  for (const candidate of [place, `${place}.zip`, retired(place)]) {
    const info = await stat(candidate).catch(() => null);
    if (info?.isDirectory() || info?.isFile()) return { path: candidate, zip: info.isFile() };
  }
  return null;
}

/** Finds, reads and checks a model's pack. Never throws: what is wrong with a pack is no reason not to run the model. */
export async function loadPack(modelPath: string, target: PackTarget): Promise<PackResult> {
  let name = path.basename(packPath(modelPath));
  try {
    const found = await findPack(modelPath);
    if (!found) return { pack: null, problem: null };
    name = path.basename(found.path);
    const files = found.zip ? await readZip(found.path, caps) : await readFolder(found.path);
    return { pack: { ...checkFiles(files, target), path: found.path }, problem: null };
  } catch (error) {
    const why =
      error instanceof HunchError ? error.message : `it cannot be read (${quote(String(error), 200)}). ${remakePack}`;
    return { pack: null, problem: `The sparsity pack "${name}" is not used: ${why}` };
  }
}

/**
 * Writes a model's pack and returns its path. It takes the place of an older one only when it is whole, on the disk, and was read
 * back. Errors: pack-invalid (it contradicts itself), disk-full, internal (cannot be written).
 */
export async function writePack(modelPath: string, pack: Pack, predictors: Predictors | null): Promise<string> {
  const any = predictors && predictorKinds.some((kind) => predictors[kind].some((predictor) => predictor !== null));
  const onnx = any ? encodePredictors(predictors, pack.model) : null;
  const info = checkPack({ ...pack, predictorsSha256: onnx ? sha256(onnx) : undefined });
  const place = packPath(modelPath);
  let work: string | null = null;
  try {
    await removeLeftovers(place);
    work = `${unfinished(place)}${randomUUID()}`;
    await mkdir(work);
    await writeWhole(path.join(work, jsonFile), `${JSON.stringify(info, null, 1)}\n`);
    if (onnx) await writeWhole(path.join(work, predictorsFile), onnx);
    await syncFolder(work);
    const { sha256, layers, width, neurons: ffnWidth, heads, kvHeads, architecture } = info.model;
    const spec = { architecture, layers, width, ffnWidth, heads, kvHeads };
    checkFiles(await readFolder(work), { sha256, spec });
    await takePlace(work, place);
    await syncFolder(path.dirname(place));
    return place;
  } catch (error) {
    if (work) await rm(work, { recursive: true, force: true }).catch(() => {});
    throw error instanceof HunchError ? error : fileError(error, place);
  }
}
