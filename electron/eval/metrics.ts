import type { EvalRecord } from './records';

/** What the model gives a request. */
export interface RequestScore {
  logLikelihood: number; // natural logarithm, of the whole continuation
  greedy: boolean; // each token of it is the likeliest one
  tokens: number; // of the continuation
}

/** Index of the largest; the first of equals. */
export function argmax(values: readonly number[]): number {
  let best = 0;
  values.forEach((value, index) => {
    if (value > (values[best] as number)) best = index;
  });
  return best;
}

/** Standard error of a mean of n ones and zeros, from the sample's deviation; null with fewer than two. */
export function standardError(mean: number, n: number): number | null {
  return n > 1 ? Math.sqrt((mean * (1 - mean)) / (n - 1)) : null;
}

const characters = (text: string): number => Array.from(text).length; // code points, as Python counts
const bytes = (text: string): number => Buffer.byteLength(text);

/** Running totals of an evaluation. */
export class EvalMetrics {
  n = 0;
  private right = 0;
  private chosen = 0; // records with something to choose from
  private rightNorm = 0;
  private rightBytes = 0;
  private clozes = 0;
  private clozeLogLikelihood = 0;
  private clozeTokens = 0;

  /** `scores`: one per request of the record. */
  add(record: EvalRecord, scores: readonly RequestScore[]): void {
    this.n++;
    const logs = scores.map(({ logLikelihood }) => logLikelihood);
    if (record.kind === 'cloze') {
      const [score] = scores as [RequestScore];
      this.right += score.greedy ? 1 : 0;
      this.clozes++;
      this.clozeLogLikelihood += score.logLikelihood;
      this.clozeTokens += score.tokens;
      return;
    }
    const normalised = (length: (text: string) => number): number =>
      argmax(logs.map((log, index) => log / length(record.answers[index] as string)));
    this.chosen++;
    this.right += argmax(logs) === record.gold ? 1 : 0;
    this.rightNorm += normalised(characters) === record.gold ? 1 : 0;
    this.rightBytes += normalised(bytes) === record.gold ? 1 : 0;
  }

  get acc(): number {
    return this.right / this.n;
  }

  /** Under lm-evaluation-harness's names. A figure that the records do not give is null. */
  summary(): EvalSummary {
    const share = (count: number, of: number): number | null => (of > 0 ? count / of : null);
    const accNorm = share(this.rightNorm, this.chosen);
    return {
      n: this.n,
      acc: this.acc,
      stderr: standardError(this.acc, this.n),
      acc_norm: accNorm,
      acc_norm_stderr: accNorm === null ? null : standardError(accNorm, this.chosen),
      acc_bytes: share(this.rightBytes, this.chosen),
      perplexity: this.clozes > 0 ? Math.exp(-this.clozeLogLikelihood / this.clozes) : null,
      token_perplexity: this.clozes > 0 ? Math.exp(-this.clozeLogLikelihood / this.clozeTokens) : null,
    };
  }
}

export interface EvalSummary {
  n: number;
  acc: number;
  stderr: number | null; // of acc
  /** By log-likelihood per character of the answer; of the records with something to choose from. */
  acc_norm: number | null;
  acc_norm_stderr: number | null;
  acc_bytes: number | null; // the same per UTF-8 byte
  /** Of the cloze records: exp(−mean log-likelihood), of a continuation and of a token. */
  perplexity: number | null;
  token_perplexity: number | null;
}
