import { describe, expect, it } from 'vitest';
import { byteSize } from '../../../electron/cli/options';
import { ForcedNames, overlapOf } from '../../../electron/sparsity/forcedNames';

describe('names that come back as those of a text do', () => {
  it.each([
    [0.11, 0.45],
    [0.22, 0.45],
    [0.1, 0.2],
  ])('are a share of %f, of which %f are named again', (share, overlap) => {
    const names = new ForcedNames({ layers: 4, width: 32, ffnWidth: 8192 }, { share, overlap });
    const [first, second, third] = [names.next(), names.next(), names.next()];
    const threshold = names.plan.layers[0]!.scoreThreshold;
    const count = first.reduce((sum, { bias }) => sum + bias!.filter((score) => score > threshold).length, 0);
    expect(count / (4 * 8192)).toBeCloseTo(share, 1.5);
    expect(Math.abs(overlapOf(names.plan, first, second) - overlap)).toBeLessThan(0.03);
    expect(Math.abs(overlapOf(names.plan, first, third) - overlap)).toBeLessThan(0.03);
    expect(overlapOf(names.plan, first, first)).toBe(1);
    expect(first.every(({ a, b }) => [...a, ...b].every((weight) => weight === 0))).toBe(true);
  });
});

describe('--memory', () => {
  it('reads sizes', () => {
    expect([byteSize('800MB'), byteSize('1.5GB'), byteSize('2 GiB'), byteSize('64kib'), byteSize('5B')]).toEqual([
      800e6,
      1.5e9,
      2 ** 31,
      65_536,
      5,
    ]);
    for (const wrong of ['800', 'MB', '0MB', '-1MB', '1TB', '9999999GB'])
      expect(() => byteSize(wrong), wrong).toThrow();
  });
});
