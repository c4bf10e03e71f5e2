import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Plan } from '../../electron/engine/addon';
import type { FrontierPoint, StopName } from '../../electron/contract/sparsity';
import { readModelFile } from '../../electron/models/gguf';
import { catalogue } from '../../electron/models/catalogue';
import { embeddedModelsFolder } from '../../electron/paths';
import { exactPlan } from '../../electron/sparsity/position';
import { packModel } from '../../electron/sparsity/pack';
import { packPath, writePack } from '../../electron/sparsity/store';

/** The ReLU starter, which has the stop `exact`, under another name in a models folder of the test's. */
const starter = catalogue.find(({ embedded }) => embedded)!;
export const starterId = starter.id;

/** Its id is 'sparse'. */
export function linkStarter(folder: string): string {
  mkdirSync(folder, { recursive: true });
  const file = path.join(folder, 'sparse.gguf');
  symlinkSync(path.join(embeddedModelsFolder(), starter.fileName), file);
  return file;
}

/**
 * A pack with every stop but `fastest`, whose plans run as exact and leave out weak neurons; the figures are made up, so that
 * the window shows the same in every run.
 */
export async function giveFrontier(modelPath: string, changes: Partial<Record<StopName, Plan>> = {}): Promise<void> {
  const { spec } = await readModelFile(modelPath);
  const plan = (gateThreshold: number) => {
    const { layers, vocabulary } = exactPlan(spec.layers);
    return { layers: layers.map((layer) => ({ ...layer, gateThreshold })), vocabulary };
  };
  const point = (stop: StopName, tokensPerSecond: number, rise: number, density: number): FrontierPoint => ({
    stop,
    tokensPerSecond,
    speedup: tokensPerSecond / 312,
    perplexityRatio: 1 + rise,
    kl: stop === 'dense' || stop === 'exact' ? 0 : rise * 0.9,
    agreement: 1 - rise * 3,
    density,
    bytesPerToken: 40e6 + 52e6 * density,
  });
  const none = Array.from({ length: spec.layers }, () => null);
  await writePack(
    modelPath,
    {
      format: 1,
      model: packModel(spec, { sha256: starter.sha256, fileName: path.basename(modelPath) }),
      created: '2026-11-24T10:00:00.000Z',
      hunch: 'test',
      predictors: { mlp: none, heads: none },
      stops: { exact: plan(0), careful: plan(0.01), balanced: plan(0.02), fast: plan(0.04), ...changes },
      frontier: [
        point('dense', 312, 0, 1),
        point('exact', 428, 0, 0.1),
        point('careful', 446, 0.004, 0.085),
        point('balanced', 468, 0.0086, 0.072),
        point('fast', 503, 0.027, 0.05),
      ],
      measured: {
        date: '2026-11-24T10:00:00.000Z',
        machine: 'Test CPU, 2 threads',
        threads: 2,
        text: 'held-out text',
        tokens: 2048,
        command: 'hunch calibrate sparse',
      },
    },
    null,
  );
}

/**
 * As `giveFrontier`, but `fast` names neurons: layer 0 runs dense, every other layer after it screened, the rest exact. So each route's
 * states occur, misses too.
 */
export async function giveScreened(modelPath: string): Promise<void> {
  const { spec } = await readModelFile(modelPath);
  const { layers, vocabulary } = exactPlan(spec.layers);
  const routes = layers.map((layer, i) =>
    i === 0
      ? { ...layer, mlp: 'dense' as const }
      : i % 2
        ? { ...layer, mlp: 'screened' as const, scoreThreshold: 0.05 }
        : layer,
  );
  await giveFrontier(modelPath, { fast: { layers: routes, vocabulary } });
}

/** A pack that cannot be read. */
export function giveBrokenPack(modelPath: string): void {
  mkdirSync(packPath(modelPath), { recursive: true });
  writeFileSync(path.join(packPath(modelPath), 'pack.json'), '{"format": 1, "model": ');
}
