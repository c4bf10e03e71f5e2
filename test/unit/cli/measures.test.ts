import { describe, expect, it } from 'vitest';
import { fixedPrompt, logitsHash, spread } from '../../../electron/cli/measure';
import { NllStatistics, measurePerplexity } from '../../../electron/engine/perplexity';

describe('mean and spread', () => {
  it("use the sample's standard deviation", () => {
    expect(spread([2, 4, 4, 4, 5, 5, 7, 9])).toEqual({ mean: 5, sd: Math.sqrt(32 / 7) });
    expect(spread([3])).toEqual({ mean: 3, sd: 0 });
  });
});

describe('the logits hash', () => {
  it('forgives less than the rounding and nothing more', () => {
    const logits = Float32Array.of(1.5, -2.25, 0);
    expect(logitsHash(Float32Array.of(1.501, -2.249, -0.001))).toBe(logitsHash(logits));
    expect(logitsHash(Float32Array.of(1.52, -2.25, 0))).not.toBe(logitsHash(logits));
    expect(logitsHash(Float32Array.of(-2.25, 1.5, 0))).not.toBe(logitsHash(logits));
  });

  it('is taken on tokens that every vocabulary has', () => {
    expect(Array.from(fixedPrompt(4, 10))).toEqual([9, 8, 7, 6]);
    expect(Math.max(...fixedPrompt(64, 49152))).toBeLessThan(49152);
  });
});

describe('perplexity', () => {
  it('of a uniform guess is the number of choices, without error', () => {
    const statistics = new NllStatistics();
    statistics.add(new Array<number>(100).fill(Math.log(50)));
    expect(statistics.perplexity).toBeCloseTo(50, 9);
    expect(statistics.standardError).toBeCloseTo(0, 4);
  });

  it('has the standard error of the mean, carried through exp', () => {
    const statistics = new NllStatistics();
    statistics.add([1, 2]);
    statistics.add([3, 4]);
    const mean = 2.5;
    const error = Math.sqrt((30 / 4 - mean ** 2) / 3);
    expect(statistics.perplexity).toBeCloseTo(Math.exp(mean), 9);
    expect(statistics.standardError).toBeCloseTo(Math.exp(mean) * error, 9);
  });

  it('cuts windows that do not overlap, leaves the rest and scores the second half', async () => {
    const tokens = Int32Array.from({ length: 35 }, (_, index) => index);
    const seen: [number[], number][] = [];
    const score = async (window: Int32Array, from: number): Promise<Float32Array> => {
      seen.push([Array.from(window), from]);
      return new Float32Array(window.length - 1 - from).fill(1);
    };
    const result = await measurePerplexity(tokens, { contextLength: 8, chunks: 3, bos: null, score });
    expect(seen).toEqual([
      [[0, 1, 2, 3, 4, 5, 6, 7], 4],
      [[8, 9, 10, 11, 12, 13, 14, 15], 4],
      [[16, 17, 18, 19, 20, 21, 22, 23], 4],
    ]);
    expect(result).toMatchObject({ chunks: 3, scoredTokens: 9, evaluatedTokens: 24 });

    seen.length = 0;
    await measurePerplexity(tokens, { contextLength: 8, chunks: Infinity, bos: 99, score });
    expect(seen.length).toBe(4);
    expect(seen.map(([window]) => window[0])).toEqual([99, 99, 99, 99]);
    expect(tokens[0]).toBe(0);
  });
});
