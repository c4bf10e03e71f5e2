import { HunchError } from '../contract/errors';
import type { ModelSpec, TensorInfo } from '../engine/addon';
import type { Metadata } from './metadata';

/**
 * PowerInfer's files (Song 2023) are GGUFs of ReLU models with the down projections stored by neuron and, for every layer, a
 * predictor: fc2 · relu(fc1 · x), where x is what enters the norm before the MLP. It computes the neurons whose score is at
 * least the threshold.
 */
export interface FilePredictors {
  threshold: number;
  /** By layer. */
  layers: { fc1: TensorInfo; fc2: TensorInfo }[]; // [width, rank] and [rank, neurons], in ggml order
}

const architectures = ['llama', 'bamboo', 'opt'];
const gpuSplit = 'generic.gpu_index';
const thresholdKey = 'powerinfer.sparse_threshold';

/** Errors: model-unsupported. */
export function checkPowerInferArchitecture(fileName: string, architecture: string): void {
  if (architecture === gpuSplit) {
    throw new HunchError(
      'model-unsupported',
      `"${fileName}" only says which neurons PowerInfer keeps on a graphics card; it is no model. Choose the model's own file.`,
    );
  }
  if (!architectures.includes(architecture)) {
    throw new HunchError(
      'model-unsupported',
      `"${fileName}" is a PowerInfer model of the architecture "${architecture}". Of PowerInfer's models Hunch runs: ${architectures.join(', ')}.`,
    );
  }
}

/**
 * The keys as our readers expect them: a llama that no key calls otherwise has ReLU, since PowerInfer runs nothing else, and
 * OPT's context counts the two rows of its table before position 0.
 */
export function plainKeys(keys: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const rows = keys['opt.context_length'];
  return {
    'llama.feed_forward_activation': 'relu',
    ...keys,
    ...(typeof rows === 'number' && rows > 2 ? { 'opt.context_length': rows - 2 } : {}),
  };
}

/** The model's tensors under our names, and its predictors (null: it has none). Errors: model-invalid. */
export function takePredictors(
  metadata: Metadata,
  { layers, width, ffnWidth, activation }: Pick<ModelSpec, 'layers' | 'width' | 'ffnWidth' | 'activation'>,
  all: readonly TensorInfo[],
): { tensors: TensorInfo[]; predictors: FilePredictors | null } {
  if (activation !== 'relu' && activation !== 'drelu') {
    const key = `${metadata.text('general.architecture')}.feed_forward_activation`;
    throw metadata.invalid(key, 'relu or drelu in a PowerInfer model');
  }
  const threshold = metadata.number(thresholdKey, -1e6, 1e6, 0);
  const names = new Set(all.map(({ name }) => name));
  const ours = (name: string): string => {
    const plain = name.replace(/\.ffn_down_t\.bias$/, '.ffn_down.bias');
    return names.has(plain) ? name : plain; // with both, the first is refused as unknown
  };
  const factors = new Map<string, TensorInfo>();
  const tensors: TensorInfo[] = [];
  for (const tensor of all) {
    const layer = /^blk\.(0|[1-9]\d*)\.fc[12]\.weight$/.exec(tensor.name)?.[1];
    if (layer !== undefined && Number(layer) < layers) factors.set(tensor.name, tensor);
    else tensors.push({ ...tensor, name: ours(tensor.name) });
  }
  if (factors.size === 0) return { tensors, predictors: null };

  const factor = (name: string): TensorInfo => {
    const found = factors.get(name);
    if (found) return found;
    const what = `has a predictor for some layers, but its tensor "${name}" is missing`;
    throw new HunchError('model-invalid', `"${metadata.fileName}" ${what}. Get the file again.`);
  };
  const shaped = (tensor: TensorInfo, wanted: number[]): TensorInfo => {
    if (tensor.shape.join() === wanted.join()) return tensor;
    const shape = `is [${tensor.shape.join(', ')}], but must be [${wanted.join(', ')}]`;
    throw new HunchError(
      'model-invalid',
      `"${metadata.fileName}" contradicts itself: its tensor "${tensor.name}" ${shape}. Get the file again.`,
    );
  };
  const predictors = Array.from({ length: layers }, (_, layer) => {
    const fc1 = factor(`blk.${layer}.fc1.weight`);
    const rank = fc1.shape[1] ?? 1;
    return {
      fc1: shaped(fc1, [width, rank]),
      fc2: shaped(factor(`blk.${layer}.fc2.weight`), [rank, ffnWidth]),
    };
  });
  return { tensors, predictors: { threshold, layers: predictors } };
}
