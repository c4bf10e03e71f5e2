import { describe, expect, it } from 'vitest';
import { stopNames, stopPosition, type FrontierPoint, type StopName } from '../../../electron/contract/sparsity';
import { snap, stepByKey } from '../../../renderer/lib/sliderSteps';
import {
  estimateNote,
  formatKl,
  formatRise,
  formatShare,
  missingReason,
  placeSentence,
  placeSummary,
  substituteNote,
} from '../../../renderer/lib/sparsityWords';

const point = (stop: StopName, speedup: number, perplexityRatio: number): FrontierPoint => ({
  stop,
  speedup,
  perplexityRatio,
  tokensPerSecond: 100 * speedup,
  kl: 0.01,
  agreement: 0.97,
  density: 0.2,
  bytesPerToken: 5e7,
});
const relu = {
  stops: ['dense', 'exact', 'balanced'] as StopName[],
  frontier: [point('dense', 1, 1), point('exact', 1.4, 1), point('balanced', 1.62, 1.008)],
  measured: { date: '2026-11-24', machine: 'test', text: 'test', tokens: 1 },
};
const bare = { stops: ['dense'] as StopName[], frontier: [], measured: null };
const at = (position: number) => ({ position, correction: false, speculation: false });

describe('numbers', () => {
  it('give perplexity as a rise', () => {
    expect([1, 1.008, 0.997, 1.0004, 1.096, 1.25].map(formatRise)).toEqual([
      ...['0 %', '+0.8 %', '−0.3 %', '0 %', '+9.6 %', '+25 %'],
    ]);
  });
  it('give the divergence without an exponent', () => {
    expect([0, 1e-7, 0.00412, 0.0123, 0.25, 1.7].map(formatKl)).toEqual([
      ...['0', '< 0.0001', '0.0041', '0.012', '0.25', '1.7'],
    ]);
  });
  it('give shares with one decimal', () => {
    expect([1, 0.9712, 0.096].map(formatShare)).toEqual(['100 %', '97.1 %', '9.6 %']);
  });
});

describe('a place in words', () => {
  it('names the stop, the speed and the cost', () => {
    expect(placeSentence(0.6, relu)).toBe('balanced: 1.6 times dense speed, 0.8 % more perplexity');
    expect(placeSentence(0.2, relu)).toBe('exact: 1.4 times dense speed, no more perplexity');
  });
  it('says what is an estimate, and between what', () => {
    expect(placeSentence(0.5, relu)).toBe('50 %: about 1.5 times dense speed, about 0.4 % more perplexity');
    expect(estimateNote(0.5, relu)).toBe('Estimated (≈) between exact and balanced.');
    expect(estimateNote(0.6, relu)).toBeNull();
    expect(placeSummary(at(0.5), relu)).toEqual({ name: '50 %', speed: '≈1.50×' });
    expect(placeSummary(at(0.6), relu)).toEqual({ name: 'balanced', speed: '1.62×' });
  });
  it('says how a model runs that lacks the stop', () => {
    expect(placeSentence(0.8, relu)).toMatch(/^fast, which this model runs as balanced: 1\.6 times/);
    expect(placeSentence(0.2, bare)).toBe('exact, which this model runs as dense: everything is computed');
    expect(placeSummary(at(0.2), bare)).toEqual({ name: 'dense', speed: null });
    expect(substituteNote(0.2, bare)).toBe('This model has no exact stop, so it runs as dense.');
    expect(substituteNote(0.2, relu)).toBeNull();
    expect(substituteNote(0.5, relu)).toBeNull();
  });
  it('claims nothing that was not measured', () => {
    const unmeasured = { ...relu, stops: ['dense', 'exact'] as StopName[], frontier: [], measured: null };
    expect(placeSentence(0.2, unmeasured)).toBe('exact: not measured yet');
    expect(placeSummary(at(0.2), unmeasured)).toEqual({ name: 'exact', speed: null });
  });
  it('says why a stop is missing', () => {
    expect(missingReason('exact', bare)).toContain('not be exactly zero');
    expect(missingReason('fast', bare)).toContain('once it is measured');
    expect(missingReason('fast', relu)).toContain('3 % more perplexity');
    expect(missingReason('careful', relu)).toContain('0.5 %');
  });
});

describe('steps', () => {
  const stops: StopName[] = ['dense', 'balanced', 'fastest'];
  it('snap to a stop nearby, and only there', () => {
    expect(snap(0.62, stops)).toBe(0.6);
    expect(snap(0.577, stops)).toBe(0.6);
    expect(snap(0.64, stops)).toBe(0.64);
    expect(snap(0.41, stops)).toBe(0.41);
    expect(snap(0.41, stopNames)).toBe(0.4);
    expect(snap(0.99, stops)).toBe(1);
  });
  it('are small with arrows and stay on the slider', () => {
    expect(stepByKey('ArrowRight', 0.6, stops)).toBe(0.62);
    expect(stepByKey('ArrowUp', 0.6, stops)).toBe(0.62);
    expect(stepByKey('ArrowLeft', 0.6, stops)).toBe(0.58);
    expect(stepByKey('ArrowDown', 0.01, stops)).toBe(0);
    expect(stepByKey('ArrowRight', 0.99, stops)).toBe(1);
    expect(stepByKey('a', 0.5, stops)).toBeNull();
    expect(stepByKey('Tab', 0.5, stops)).toBeNull();
  });
  it('lead to the next stop that there is with Page Up and Page Down, to the ends with Home and End', () => {
    expect(stepByKey('PageUp', 0, stops)).toBe(0.6);
    expect(stepByKey('PageUp', 0.6, stops)).toBe(1);
    expect(stepByKey('PageUp', 1, stops)).toBe(1);
    expect(stepByKey('PageDown', 0.62, stops)).toBe(0.6);
    expect(stepByKey('PageDown', 0.6, stops)).toBe(0);
    expect(stepByKey('Home', 0.6, stops)).toBe(0);
    expect(stepByKey('End', 0.6, stops)).toBe(1);
  });
  it('meet every stop exactly, however they come there', () => {
    let position = 0;
    const met: StopName[] = ['dense'];
    for (let i = 0; i < 50; i++) {
      position = stepByKey('ArrowRight', position, stopNames)!;
      met.push(...stopNames.filter((stop) => stopPosition(stop) === position));
    }
    expect(met).toEqual(stopNames);
  });
});
