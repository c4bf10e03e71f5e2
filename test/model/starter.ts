import { readModelFile } from '../../electron/models/gguf';
import type { ModelFile } from '../../electron/models/gguf';
import { starterModelId } from '../../electron/models/catalogue';
import { ModelLibrary } from '../../electron/models/library';
import { modelsFolder } from '../../electron/paths';

/** The real starter model; `npm test` sets it up first. */
export async function starterPath(): Promise<string> {
  return (await new ModelLibrary(modelsFolder()).resolve(starterModelId)).path;
}

export async function starterFile(): Promise<ModelFile> {
  return readModelFile(await starterPath());
}
