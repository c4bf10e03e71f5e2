import { readFilePredictors } from '../models/filePredictors';
import type { ModelFile } from '../models/gguf';
import { exactPlan } from '../sparsity/position';
import type { Plan, Predictors } from './addon';
import type { ModelSparsity } from './modelSparsity';
import { modelSource } from './sparsitySource';

/** PowerInfer takes a score of 0, too, the engine only what exceeds its threshold. Smaller floats some processors round to 0. */
const justBelowZero = -(2 ** -126);

/**
 * Takes the plans that a model's own file brings (PowerInfer's predictors), for where there is no pack: `balanced`, which nobody
 * measured. Why they cannot be used is told in the state; the model runs without them then. Never rejects.
 */
export async function useFilePlans(sparsity: ModelSparsity, file: ModelFile): Promise<void> {
  const { spec, predictors: found } = file;
  if (!found) return;
  try {
    const predictors = await readFilePredictors(file, found);
    const info = { stops: { balanced: predictedPlan(spec.layers) }, frontier: [], measured: null };
    const source = { ...modelSource(spec, { info, predictors: null }), predictors: predictors as Predictors | null };
    await sparsity.use(source);
    source.predictors = null; // 2 GB of a 7B model, which the engine has taken over
  } catch (error) {
    const why = `The predictors in "${file.vocabulary.fileName}" are not used: ${(error as Error).message}`;
    await sparsity.use(modelSource(spec, null, why));
  }
}

/** The predictors name the neurons; those whose gate is zero are skipped after all. */
function predictedPlan(count: number): Plan {
  const { layers, vocabulary } = exactPlan(count);
  return {
    layers: layers.map((layer) => ({ ...layer, mlp: 'predicted', scoreThreshold: justBelowZero })),
    vocabulary,
  };
}
