import type { ModelSpec } from '../engine/addon';
import { tensorBytes } from '../models/synthetic/blockTypes';
import type { Speed } from './measure';

/** What a perfect predictor would give. */
export interface Ceiling {
  bytesPerToken: number;
  tokensPerSecond: number;
  speedup: number; // over dense
}

/** Bytes of the attention's matrices, or of some of them. */
function attentionBytes({ tensors }: Pick<ModelSpec, 'tensors'>, kinds: string): number {
  const wanted = new RegExp(`^blk\\.\\d+\\.attn_(${kinds})\\.weight$`);
  return bytesOf(tensors.filter(({ name }) => wanted.test(name)));
}

/** Of the output head, which may be the embedding. */
function headBytes({ tensors }: Pick<ModelSpec, 'tensors'>): number {
  const own = tensors.filter(({ name }) => name === 'output.weight');
  return bytesOf(own.length > 0 ? own : tensors.filter(({ name }) => name === 'token_embd.weight'));
}

const bytesOf = (tensors: ModelSpec['tensors']): number =>
  tensors.reduce((sum, { type, shape }) => sum + tensorBytes(type, shape), 0);

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
  const mlps = Math.max(0, dense.bytesPerToken - attentionBytes(spec, 'q|k|v|output') - headBytes(spec));
  const queries = attentionBytes(spec, 'q|output');
  const skipped = mlps * (1 - plan.density) + queries * (1 - (plan.headShare ?? 1));
  const bytesPerToken = head.bytesPerToken - skipped;
  const speedup = dense.bytesPerToken / bytesPerToken;
  return { bytesPerToken, speedup, tokensPerSecond: dense.tokensPerSecond * speedup };
}
