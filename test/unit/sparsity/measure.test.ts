import { describe, expect, it } from 'vitest';
import type { Comparison } from '../../../electron/engine/addon';
import { keyOf, median, qualityByKind, qualityOf } from '../../../electron/sparsity/measure';
import { oracleCeiling } from '../../../electron/sparsity/oracle';
import { portion, type Window } from '../../../electron/sparsity/text';
import { plan } from './helpers';

const compared = (nll: number, referenceNll: number, change: Partial<Comparison> = {}): Comparison => ({
  positions: 100,
  nll,
  referenceNll,
  kl: 1,
  agree: 90,
  ...change,
});
const window = (kind: Window['kind'], length: number, from: number): Window => ({
  kind,
  tokens: Int32Array.from({ length }, (_, i) => i),
  from,
});

describe('quality', () => {
  it('is the ratio of perplexities over all positions', () => {
    const quality = qualityOf([compared(210, 200), compared(330, 320, { positions: 300, kl: 3, agree: 300 })]);
    expect(quality.perplexity).toBeCloseTo(Math.exp(540 / 400));
    expect(quality.ratio).toBeCloseTo(Math.exp(20 / 400));
    expect(quality.ratio).toBeCloseTo(quality.perplexity / quality.densePerplexity);
    expect(quality).toMatchObject({ kl: 4 / 400, agreement: 390 / 400, positions: 400 });
  });

  it('has no error where all windows agree, and the standard error of the mean where they do not', () => {
    const same = qualityOf([compared(201, 200), compared(301, 300)]);
    expect(same.upper).toBeCloseTo(same.ratio, 12);
    // Differences a token of 0.00 and 0.02 in equal windows: mean 0.01, standard error 0.01.
    const apart = qualityOf([compared(200, 200), compared(302, 300)]);
    expect(Math.log(apart.ratio)).toBeCloseTo(0.01);
    expect(Math.log(apart.upper)).toBeCloseTo(0.02);
  });

  it('does not take a single window for certain', () => {
    const single = qualityOf([compared(200, 200, { kl: 2 })]);
    expect(Math.log(single.upper)).toBeCloseTo(Math.sqrt(2 * 0.02) / 10);
  });

  it('is of each kind of text apart', () => {
    const windows = [window('chat', 9, 0), window('free', 9, 0), window('chat', 9, 0), window('free', 9, 0)];
    const results = [compared(200, 200), compared(205, 200), compared(201, 201), compared(206, 201)];
    expect(qualityByKind(windows, results).chat!.ratio).toBe(1);
    expect(qualityByKind(windows, results).free!.ratio).toBeCloseTo(Math.exp(0.05));
    expect(qualityByKind(windows, results)).not.toHaveProperty('sample');
  });
});

describe('a portion of the windows', () => {
  const windows = [window('chat', 120, 20), window('chat', 220, 20), window('free', 512, 64), window('free', 512, 64)];

  it('has every kind, whole documents, the first first', () => {
    expect(portion(windows, 0.3)).toEqual([windows[0], windows[2]]);
    expect(portion(windows, 1)).toEqual(windows);
  });

  it('cuts them behind what is scored', () => {
    const [chat, , free] = portion(windows, 0.5, 50);
    expect([chat!.tokens.length, free!.tokens.length]).toEqual([71, 115]);
    expect([chat!.from, free!.from]).toEqual([20, 64]);
  });
});

describe('plans', () => {
  it('are the same by what they say', () => {
    expect(keyOf(plan('exact', 0.1))).toBe(keyOf(plan('exact', 0.1)));
    expect(keyOf(plan('exact', 0.1))).not.toBe(keyOf(plan('exact', 0.2)));
    expect(keyOf(null)).not.toBe(keyOf(plan('dense')));
  });

  it('take the median of their times', () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });
});

describe('the oracle', () => {
  const tensor = (name: string, rows: number): { name: string; type: 'Q4_0'; shape: number[]; offset: number } => ({
    name,
    type: 'Q4_0',
    shape: [64, rows],
    offset: 0,
  });
  const layer = ['attn_q', 'ffn_gate', 'ffn_up', 'ffn_down_t'].map((name) => tensor(`blk.0.${name}.weight`, 100));
  const speed = { speedup: 1, densities: [], named: 0, predictorShare: 0, headsPerLayer: 0 };

  it('reads nothing of the neurons that are not needed', () => {
    const spec = { tensors: [...layer, tensor('token_embd.weight', 100)] };
    const dense = { ...speed, tokensPerSecond: 100, density: 1, bytesPerToken: 18_000 }; // 5 of 3,600
    const ceiling = oracleCeiling(spec, dense, { density: 0.1 }, { bytesPerToken: 17_000 });
    expect(ceiling.bytesPerToken).toBeCloseTo(17_000 - 3 * 3600 * 0.9);
    expect(ceiling.tokensPerSecond).toBeCloseTo((100 * 18_000) / 7280);
    expect(ceiling.speedup).toBeCloseTo(18_000 / 7280);
    // The engine stores the MLPs in 8 bits: they are what is not the rest.
    const wider = { ...dense, bytesPerToken: 28_000 };
    expect(oracleCeiling(spec, wider, { density: 0.5 }, wider).bytesPerToken).toBeCloseTo(28_000 - 20_800 / 2);
    expect(oracleCeiling(spec, dense, { density: 1, headShare: 0.25 }, dense).bytesPerToken).toBeCloseTo(
      18_000 - 3600 * 0.75,
    );
  });

  it('does not count an embedding that only looks up', () => {
    const tensors = [...layer, tensor('token_embd.weight', 100), tensor('output.weight', 100)];
    const dense = { ...speed, tokensPerSecond: 100, density: 1, bytesPerToken: 18_000 };
    expect(oracleCeiling({ tensors }, dense, { density: 0 }, dense).bytesPerToken).toBeCloseTo(2 * 3600);
  });
});
