import { readModelFile } from '../../electron/models/gguf';
import type { ModelFile } from '../../electron/models/gguf';
import { ModelLibrary } from '../../electron/models/library';
import { modelsFolder } from '../../electron/paths';

/** Stock SmolLM2, whose figures llama.cpp's can be held against. */
export const stockModelId = 'smollm2-135m-instruct-q4_1';

/** The real model; `npm test` sets it up first. */
export async function starterPath(): Promise<string> {
  return (await new ModelLibrary(modelsFolder()).resolve(stockModelId)).path;
}

export async function starterFile(): Promise<ModelFile> {
  return readModelFile(await starterPath());
}
