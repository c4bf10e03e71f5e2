/** Running mean of negative log-likelihoods, with llama-perplexity's standard error. */
export class NllStatistics {
  count = 0;
  private sum = 0;
  private sumOfSquares = 0;

  /** `nll`: −ln p of each scored token. */
  add(nll: ArrayLike<number>): void {
    for (let index = 0; index < nll.length; index++) {
      const value = nll[index] as number;
      this.sum += value;
      this.sumOfSquares += value * value;
    }
    this.count += nll.length;
  }

  get perplexity(): number {
    return Math.exp(this.sum / this.count);
  }

  /** Of the perplexity: the mean's standard error, carried through exp() to first order. 0 with fewer than two tokens. */
  get standardError(): number {
    const mean = this.sum / this.count;
    const variance = this.sumOfSquares / this.count - mean * mean;
    return this.count > 1 && variance > 0 ? Math.sqrt(variance / (this.count - 1)) * this.perplexity : 0;
  }
}

export interface PerplexityWindow {
  chunk: number; // from 1
  chunks: number;
  perplexity: number; // of all windows so far
  elapsedMs: number;
}

export interface PerplexityResult {
  perplexity: number;
  standardError: number;
  chunks: number;
  scoredTokens: number;
  evaluatedTokens: number;
  elapsedMs: number;
}

export interface PerplexityOptions {
  contextLength: number; // tokens of a window
  chunks: number; // windows to score at most; Infinity = all
  /** Put in place of each window's first token, for models that want it; null = none. */
  bos: number | null;
  /** NativeSession.score. */
  score: (tokens: Int32Array, from: number) => Promise<Float32Array>;
  onWindow?: (window: PerplexityWindow) => void;
}

/**
 * llama-perplexity's protocol: the text's tokens are cut into windows of `contextLength` that do not overlap; each runs
 * from an empty cache, and the predictions at positions contextLength/2 … contextLength−2 are scored, so every scored
 * token has at least half a window before it. Needs two windows of tokens; a rest shorter than a window is left out.
 */
export async function measurePerplexity(tokens: Int32Array, options: PerplexityOptions): Promise<PerplexityResult> {
  const { contextLength, bos, score, onWindow } = options;
  const chunks = Math.min(options.chunks, Math.floor(tokens.length / contextLength));
  const statistics = new NllStatistics();
  const begin = performance.now();
  for (let chunk = 0; chunk < chunks; chunk++) {
    const window = tokens.slice(chunk * contextLength, (chunk + 1) * contextLength);
    if (bos !== null) window[0] = bos;
    statistics.add(await score(window, contextLength / 2));
    const { perplexity } = statistics;
    onWindow?.({ chunk: chunk + 1, chunks, perplexity, elapsedMs: performance.now() - begin });
  }
  return {
    perplexity: statistics.perplexity,
    standardError: statistics.standardError,
    chunks,
    scoredTokens: statistics.count,
    evaluatedTokens: chunks * contextLength,
    elapsedMs: performance.now() - begin,
  };
}
