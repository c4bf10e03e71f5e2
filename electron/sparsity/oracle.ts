import type { ModelSpec } from '../engine/addon';
import { tensorBytes } from '../models/synthetic/blockTypes';
import type { Speed } from './measure';

/** What a perfect predictor would give. */
export interface Ceiling {
  bytesPerToken: number;
  tokensPerSecond: number;
  speedup: number; // over dense
}

const mlpTensor = /^blk\.\d+\.ffn_(gate|up|down|down_t)\.weight$/;
const embedding = 'token_embd.weight';

/** Share of the weights that a dense token reads which belongs to MLPs. */
export function mlpShare({ tensors }: Pick<ModelSpec, 'tensors'>): number {
  const tied = !tensors.some(({ name }) => name === 'output.weight');
  const read = tensors.filter(({ name }) => name !== embedding || tied);
  const bytes = (list: typeof tensors): number =>
    list.reduce((sum, tensor) => sum + tensorBytes(tensor.type, tensor.shape), 0);
  return bytes(read.filter(({ name }) => mlpTensor.test(name))) / bytes(read);
}

/**
 * If the neurons that a plan computes were known for nothing: no gate, copy or predictor would be read but theirs. Bytes are turned
 * into speed at the rate at which dense reads. `head`: dense layers with the plan's output head.
 */
export function oracleCeiling(
  spec: Pick<ModelSpec, 'tensors'>,
  dense: Speed,
  plan: Pick<Speed, 'density'>,
  head: Pick<Speed, 'bytesPerToken'>,
): Ceiling {
  const skipped = dense.bytesPerToken * mlpShare(spec) * (1 - plan.density);
  const bytesPerToken = head.bytesPerToken - skipped;
  const speedup = dense.bytesPerToken / bytesPerToken;
  return { bytesPerToken, speedup, tokensPerSecond: dense.tokensPerSecond * speedup };
}
