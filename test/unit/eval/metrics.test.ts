import { describe, expect, it } from 'vitest';
import { EvalMetrics, argmax, standardError } from '../../../electron/eval/metrics';
import type { EvalRecord } from '../../../electron/eval/records';
import { parseRecords } from '../../../electron/eval/records';

const record = (value: unknown): EvalRecord => parseRecords(JSON.stringify(value), 'f')[0] as EvalRecord;
const scores = (...logs: number[]): { logLikelihood: number; greedy: boolean; tokens: number }[] =>
  logs.map((logLikelihood) => ({ logLikelihood, greedy: false, tokens: 1 }));

describe('the argmax', () => {
  it('is the first of equals', () => {
    expect(argmax([-3, -1, -1])).toBe(1);
    expect(argmax([-1, -Infinity])).toBe(0);
  });
});

describe('the standard error', () => {
  it("is that of the sample's deviation", () => {
    const sample = [1, 1, 1, 0];
    const mean = 0.75;
    const deviation = Math.sqrt(sample.reduce((sum, value) => sum + (value - mean) ** 2, 0) / 3);
    expect(standardError(mean, 4)).toBeCloseTo(deviation / Math.sqrt(4), 12);
    expect(standardError(1, 1)).toBeNull();
  });
});

describe('accuracy', () => {
  const choices = record({ query: 'q', choices: ['ab', 'abcdefgh'], gold: 1 });

  it('takes the likeliest answer; acc_norm the likeliest per character', () => {
    const metrics = new EvalMetrics();
    metrics.add(choices, scores(-4, -8)); // per character: -2, -1
    expect(metrics.summary()).toMatchObject({ n: 1, acc: 0, acc_norm: 1, stderr: null });
    metrics.add(choices, scores(-8, -4));
    metrics.add(choices, scores(-1, -40));
    metrics.add(choices, scores(-1, -40));
    const { acc, acc_norm, stderr, acc_norm_stderr, perplexity } = metrics.summary();
    expect([acc, acc_norm, perplexity]).toEqual([0.25, 0.5, null]);
    expect(stderr).toBeCloseTo(Math.sqrt((0.25 * 0.75) / 3), 12);
    expect(acc_norm_stderr).toBeCloseTo(Math.sqrt(0.25 / 3), 12);
  });

  it('counts characters for acc_norm and bytes for acc_bytes, without the delimiter', () => {
    const metrics = new EvalMetrics();
    const greek = record({ query: 'q', choices: ['ναι', 'no'], gold: 0 }); // 3 characters in 6 bytes
    metrics.add(greek, scores(-6, -3)); // per character -2, -1.5; per byte -1, -1.5
    expect(metrics.summary()).toMatchObject({ acc: 0, acc_norm: 0, acc_bytes: 1 });
    const emoji = record({ query: 'q', choices: ['😀😀', 'abc'], gold: 1 }); // 2 code points in 4 UTF-16 units
    const second = new EvalMetrics();
    second.add(emoji, scores(-8, -9)); // per code point -4, -3; per UTF-16 unit -2, -3
    expect(second.summary().acc_norm).toBe(1);
  });

  it('of contexts compares the same continuation', () => {
    const metrics = new EvalMetrics();
    const contexts = record({ context_options: ['a', 'a much longer one'], continuation: 'x', gold: 1 });
    metrics.add(contexts, scores(-2, -1));
    expect(metrics.summary()).toMatchObject({ acc: 1, acc_norm: 1 });
  });

  it('of cloze records is the greedy match, beside their perplexity', () => {
    const metrics = new EvalMetrics();
    const cloze = record({ context: 'a', continuation: 'b' });
    metrics.add(cloze, [{ logLikelihood: -1, greedy: true, tokens: 1 }]);
    metrics.add(cloze, [{ logLikelihood: -5, greedy: false, tokens: 3 }]);
    const result = metrics.summary();
    expect(result).toMatchObject({ n: 2, acc: 0.5, acc_norm: null, acc_norm_stderr: null });
    expect(result.perplexity).toBeCloseTo(Math.exp(3), 9);
    expect(result.token_perplexity).toBeCloseTo(Math.exp(6 / 4), 9);
  });
});
