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

/** Bytes of weights that every token reads, whatever its MLPs do; `of`: only those. */
function bytesBeside({ tensors }: Pick<ModelSpec, 'tensors'>, of: RegExp = /./): number {
  const tied = !tensors.some(({ name }) => name === 'output.weight');
  return tensors
    .filter(({ name }) => !mlpTensor.test(name) && (name !== embedding || tied) && of.test(name))
    .reduce((sum, tensor) => sum + tensorBytes(tensor.type, tensor.shape), 0);
}

/**
 * If the neurons (and heads) that a plan computes were known for nothing: no gate, copy or predictor would be read but theirs. Bytes are
 * turned into speed at the rate at which dense reads. What MLPs read is what dense reads beside the rest: the engine may store them in
 * other types than the file. `head`: dense layers with the plan's output head.
 */
export function oracleCeiling(
  spec: Pick<ModelSpec, 'tensors'>,
  dense: Speed,
  plan: Pick<Speed, 'density'> & { headShare?: number },
  head: Pick<Speed, 'bytesPerToken'>,
): Ceiling {
  const mlps = Math.max(0, dense.bytesPerToken - bytesBeside(spec));
  const queries = bytesBeside(spec, /^blk\.\d+\.attn_(q|output)\.weight$/);
  const skipped = mlps * (1 - plan.density) + queries * (1 - (plan.headShare ?? 1));
  const bytesPerToken = head.bytesPerToken - skipped;
  const speedup = dense.bytesPerToken / bytesPerToken;
  return { bytesPerToken, speedup, tokensPerSecond: dense.tokensPerSecond * speedup };
}
