import { createHash } from 'node:crypto';
import { open, stat } from 'node:fs/promises';
import path from 'node:path';
import type { ModelSpec, Predictors } from '../engine/addon';
import { nameOf, predictorKinds } from './names';
import { decodePredictors } from './onnx';
import { predictorsFile } from './onnxChains';
import { packLimits, packModel, parsePack, sameKind, type Pack } from './pack';
import { packInvalid, quote } from './packError';

export const jsonFile = 'pack.json';
/** Bytes that each file of a pack may have. */
export const caps = { [jsonFile]: packLimits.jsonBytes, [predictorsFile]: packLimits.onnxBytes };

/** The model that a pack must belong to. */
export interface PackTarget {
  sha256: string; // of the model's file
  spec: Pick<ModelSpec, 'architecture' | 'layers' | 'width' | 'ffnWidth' | 'heads' | 'kvHeads'>;
}

/** Both files at most, each only if it is a plain file and within its size. */
export async function readFolder(folder: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const [name, cap] of Object.entries(caps)) {
    const file = path.join(folder, name);
    const info = await stat(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return null;
      throw error;
    });
    if (!info) continue;
    if (!info.isFile()) throw packInvalid(`${name} is not a file`);
    if (info.size > cap) throw packInvalid(`${name} is larger than ${cap >> 20} MB`);
    const handle = await open(file, 'r');
    try {
      const buffer = Buffer.alloc(info.size);
      const { bytesRead } = await handle.read(buffer, 0, info.size, 0);
      files.set(name, buffer.subarray(0, bytesRead));
    } finally {
      await handle.close();
    }
  }
  return files;
}

/** Errors: pack-invalid. */
export function checkFiles(
  files: Map<string, Buffer>,
  target: PackTarget,
): { info: Pack; predictors: Predictors | null } {
  const json = files.get(jsonFile);
  if (!json) throw packInvalid('it has no pack.json');
  const info = parsePack(json.toString('utf8'));
  checkModel(info, target);
  const listed = predictorKinds.some((kind) => info.predictors[kind].some((predictor) => predictor !== null));
  const onnx = files.get(predictorsFile);
  if (!onnx) {
    if (listed) throw packInvalid(`it has no ${predictorsFile}, though pack.json lists predictors`);
    return { info, predictors: null };
  }
  if (info.predictorsSha256 !== undefined && info.predictorsSha256 !== sha256(onnx)) {
    throw packInvalid(`${predictorsFile} is damaged, or is not the one that pack.json was written for`);
  }
  const predictors = decodePredictors(onnx, info.model, info.predictors);
  for (const kind of predictorKinds) {
    const layer = predictors[kind].findIndex((predictor, i) => !sameKind(info.predictors[kind][i]!, predictor));
    if (layer >= 0) {
      throw packInvalid(`pack.json and ${predictorsFile} say different things of ${nameOf(layer, kind, 'score')}`);
    }
  }
  return { info, predictors };
}

function checkModel({ model }: Pack, target: PackTarget): void {
  const wanted = packModel(target.spec, { sha256: target.sha256, fileName: model.fileName });
  if (model.sha256 !== wanted.sha256) {
    throw packInvalid(
      `it was made for another model (${quote(model.fileName)}, SHA-256 ${model.sha256.slice(0, 12)}…; this one has ${wanted.sha256.slice(0, 12)}…)`,
      'Calibrate this model to make its own pack, or remove this one.',
    );
  }
  for (const [key, value] of Object.entries(wanted)) {
    const said = model[key as keyof typeof model];
    if (said !== value) throw packInvalid(`pack.json gives the model ${key} ${said}, but it has ${value}`);
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
