import { HunchError } from '../contract/errors';
import type { NativeSession } from '../engine/addon';
import type { EncodedPair, PairTokenizer } from './encodePair';
import { encodePair } from './encodePair';
import type { EvalSummary, RequestScore } from './metrics';
import { EvalMetrics } from './metrics';
import type { EvalRecord } from './records';

export interface EvaluateOptions {
  fileName: string; // for errors
  tokenizer: PairTokenizer;
  /** Tokens that the model may see at once. A longer context loses its beginning. */
  maxLength: number;
  /** Called once, with the tokens of the longest request. */
  openSession: (tokens: number) => Pick<NativeSession, 'scoreGreedy' | 'close'>;
  onRecord?: (done: number, total: number, acc: number) => void;
}

export interface EvaluateResult extends EvalSummary {
  truncated: number; // requests that lost their beginning
  tokens: number; // of all requests, shared ones counted once per request
  elapsedMs: number; // of the scoring
}

/**
 * Scores every record, request after request: those of a record follow each other, so that what they share (a query, the
 * examples before it) is in the KV cache already. Errors: bad-request (a line that cannot be scored), model-invalid.
 */
export async function evaluate(records: readonly EvalRecord[], options: EvaluateOptions): Promise<EvaluateResult> {
  const { maxLength, tokenizer, fileName } = options;
  let [truncated, tokens, longest] = [0, 0, 2];
  const encoded: EncodedPair[][] = [];
  for (const record of records) {
    const pairs: EncodedPair[] = [];
    for (const { context, continuation } of record.requests) {
      const pair = await encodePair(tokenizer, context, continuation);
      const problem = !pair
        ? `the continuation ${JSON.stringify(continuation)} has no tokens of its own after its context.`
        : pair.tokens.length - pair.context > maxLength
          ? `the continuation has ${pair.tokens.length - pair.context} tokens, more than the model's context of ${maxLength}.`
          : null;
      if (!pair || problem !== null) {
        throw new HunchError('bad-request', `${fileName}, line ${record.line}: ${problem}`);
      }
      // The last token is only predicted, never read, so one more than the context fits.
      const excess = Math.max(0, pair.tokens.length - (maxLength + 1));
      if (excess > 0) truncated++;
      pairs.push({ tokens: pair.tokens.slice(excess), context: pair.context - excess });
      tokens += pair.tokens.length - excess;
      longest = Math.max(longest, pair.tokens.length - excess);
    }
    encoded.push(pairs);
  }

  const metrics = new EvalMetrics();
  const session = options.openSession(longest);
  const begin = performance.now();
  try {
    for (const [index, record] of records.entries()) {
      const scores: RequestScore[] = [];
      for (const pair of encoded[index] as EncodedPair[]) scores.push(await score(session, pair));
      metrics.add(record, scores);
      options.onRecord?.(index + 1, records.length, metrics.acc);
    }
  } finally {
    session.close();
  }
  return { ...metrics.summary(), truncated, tokens, elapsedMs: performance.now() - begin };
}

async function score(
  session: Pick<NativeSession, 'scoreGreedy'>,
  { tokens, context }: EncodedPair,
): Promise<RequestScore> {
  const { nll, greedy } = await session.scoreGreedy(Int32Array.from(tokens), context - 1);
  const logLikelihood = -nll.reduce((sum, value) => sum + value, 0);
  if (!Number.isFinite(logLikelihood)) {
    throw new HunchError(
      'model-invalid',
      "The model's output is not a number. The file is probably damaged: get it again.",
    );
  }
  return { logLikelihood, greedy: greedy.every((match) => match === 1), tokens: nll.length };
}
