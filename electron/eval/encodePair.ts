import type { Tokenizer } from '../models/tokenizer';

/** A text and what follows it, as tokens: `tokens[context … end)` is what is scored. */
export interface EncodedPair {
  tokens: number[];
  context: number;
}

/** The part of a tokenizer that is needed here. */
export type PairTokenizer = Pick<Tokenizer, 'encode' | 'bos' | 'addBos' | 'stopTokens'>;

/**
 * lm-evaluation-harness's way to cut a text in two (`_encode_pair`): spaces at the end of the context go to the
 * continuation, both are encoded in one piece, and the context's own length in tokens is where the cut falls. An empty
 * context becomes the model's first token. Null when the continuation has no token of its own.
 */
export async function encodePair(
  tokenizer: PairTokenizer,
  context: string,
  continuation: string,
): Promise<EncodedPair | null> {
  const kept = context.trimEnd();
  const moved = context.slice(kept.length) + continuation;
  // Special tokens' texts become their tokens, as in the tokenizers that the harness uses: the file is one's own.
  const encode = (text: string): Promise<number[]> => tokenizer.encode(text, { parseSpecial: true });
  const first = tokenizer.bos ?? tokenizer.stopTokens[0];
  const before = tokenizer.addBos && tokenizer.bos !== null ? [tokenizer.bos] : [];
  if (kept === '') {
    const tokens = await encode(moved);
    const whole = first === undefined || tokens[0] === first ? tokens : [first, ...tokens];
    return whole.length > 1 ? { tokens: whole, context: 1 } : null;
  }
  const whole = [...before, ...(await encode(kept + moved))];
  const length = before.length + (await encode(kept)).length;
  return whole.length > length ? { tokens: whole, context: length } : null;
}
