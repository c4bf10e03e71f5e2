import { existsSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { attach } from '../lib/exec.mjs';
import { inRoot } from '../lib/paths.mjs';
import { StepError } from '../lib/ui.mjs';

export const stockModelId = 'smollm2-135m-instruct-q4_1';

export const stockModel = {
  name: 'Stock SmolLM2',

  /** Its size proves that it was not cut off; the command below verified its hash before it got this name. */
  isDone() {
    const entry = catalogueEntry();
    const file = join(modelsFolder(), entry.fileName);
    return existsSync(file) && statSync(file).size === entry.sizeBytes;
  },

  async run() {
    const code = await attach(process.execPath, [inRoot('dist', 'electron', 'cli.cjs'), 'pull', stockModelId]);
    if (code !== 0) {
      throw new StepError(
        `hunch pull ${stockModelId} ended with code ${code}; its message is above.`,
        'What was downloaded is kept: run the same command again to go on from there.',
      );
    }
    if (!this.isDone()) {
      throw new StepError(
        `hunch pull ${stockModelId} ended well, but ${modelsFolder()} does not hold the model.`,
        `Run npm run hunch -- pull ${stockModelId} and look at where it puts the file.`,
      );
    }
  },
};

/** The models folder of the app itself, from its own code. */
export function modelsFolder() {
  return createRequire(import.meta.url)(inRoot('dist', 'electron', 'paths.cjs')).modelsFolder();
}

function catalogueEntry() {
  const catalogue = JSON.parse(readFileSync(inRoot('assets', 'models.json'), 'utf8'));
  const models = Array.isArray(catalogue) ? catalogue : catalogue.models;
  const entry = models?.find((model) => model.id === stockModelId);
  if (!entry) {
    throw new StepError(
      `assets/models.json does not list ${stockModelId}.`,
      'Restore the file: git checkout -- assets/models.json',
    );
  }
  return entry;
}
