import { describe, expect, it } from 'vitest';
import { droppedEnergy, gateThresholds, shareAt, thresholdAt, type GateCurve } from '../../../electron/sparsity/gates';
import { falling } from '../../../electron/sparsity/search';

/** Gates spread evenly over 0 … 4, all of them open. */
const even: GateCurve = { thresholds: [0, 1, 2, 4], shares: [1, 0.75, 0.5, 0] };

describe('a gate curve', () => {
  it('is read both ways', () => {
    for (const [threshold, share] of [
      [0, 1],
      [0.5, 0.875],
      [2, 0.5],
      [3, 0.25],
    ] as const) {
      expect(shareAt(even, threshold)).toBeCloseTo(share);
      expect(thresholdAt(even, share)).toBeCloseTo(threshold);
    }
    expect(shareAt(even, 9)).toBe(0);
    expect(thresholdAt({ thresholds: [0, 1], shares: [0.5, 0.4] }, 0.1)).toBe(1); // beyond what was seen
  });

  it('knows the energy below a threshold', () => {
    // ∫ t² dt / 4 from 0 to T = T³ / 12
    for (const threshold of [0.5, 1, 1.7, 4]) {
      expect(droppedEnergy(even, threshold)).toBeCloseTo(threshold ** 3 / 12, 9);
    }
    expect(droppedEnergy(even, 0)).toBe(0);
  });
});

describe('gate thresholds', () => {
  const costs = [1, 4, 100];
  const curves = [even, even, even];
  const total = (thresholds: number[]): number =>
    thresholds.reduce((sum, threshold, i) => sum + costs[i]! * droppedEnergy(curves[i]!, threshold), 0);

  it('cost what was asked for, and more where more is allowed', () => {
    let before = [0, 0, 0];
    for (const kl of [0.001, 0.01, 0.1, 1]) {
      const thresholds = gateThresholds(curves, costs, kl);
      expect(total(thresholds)).toBeCloseTo(kl, 6);
      thresholds.forEach((threshold, i) => expect(threshold).toBeGreaterThan(before[i]!));
      before = thresholds;
    }
  });

  it('skip more in total than the same threshold everywhere at the same cost', () => {
    const kl = 0.1;
    const own = gateThresholds(curves, costs, kl);
    const same = (kl * 12) / costs.reduce((sum, cost) => sum + cost, 0);
    const uniform = curves.map(() => Math.cbrt(same));
    expect(total(uniform)).toBeCloseTo(kl, 6);
    const skipped = (thresholds: number[]): number =>
      thresholds.reduce((sum, threshold, i) => sum + 1 - shareAt(curves[i]!, threshold), 0);
    expect(skipped(own)).toBeGreaterThan(1.2 * skipped(uniform));
  });

  it('end where the curve does, and are 0 where nothing was seen', () => {
    expect(gateThresholds(curves, costs, 1e9)).toEqual([4, 4, 4].map((value) => expect.closeTo(value, 4)));
    expect(gateThresholds([{ thresholds: [0], shares: [1] }], [1], 0.1)).toEqual([0]);
  });
});

describe('a falling series', () => {
  it('keeps what falls and levels what rises', () => {
    expect(falling([5, 4, 2])).toEqual([5, 4, 2]);
    expect(falling([3, 5, 1])).toEqual([4, 4, 1]);
    expect(falling([1, 2, 3])).toEqual([2, 2, 2]);
    expect(falling([])).toEqual([]);
  });
});
