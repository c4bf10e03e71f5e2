import { describe, expect, it } from 'vitest';
import type { Plan } from '../../../electron/engine/addon';
import type { Speed } from '../../../electron/sparsity/measure';
import { chooseStops, pointOf, type Chosen, type Judged, type Measured } from '../../../electron/sparsity/stops';
import { plan } from './helpers';

const speed = (speedup: number): Speed => ({
  ...{ tokensPerSecond: 100 * speedup, speedup, density: 1 / speedup, densities: [], bytesPerToken: 1e8 / speedup },
  ...{ named: 0, predictorShare: 0, headsPerLayer: 0 },
});
const dense = pointOf('dense', speed(1), { ratio: 1, kl: 0, agreement: 1 });
const exact = pointOf('exact', speed(1.4), { ratio: 1, kl: 0, agreement: 1 });
const relu: Pick<Chosen, 'stops' | 'frontier'> = { stops: { exact: plan('exact') }, frontier: [dense, exact] };
const silu: Pick<Chosen, 'stops' | 'frontier'> = { stops: {}, frontier: [dense] };

/** Plans told apart by their threshold, which is also how much they cost on held-out text. */
const candidate = (speedup: number, heldOut: number, rise = heldOut): Measured => ({
  plan: plan('exact', heldOut),
  speed: speed(speedup),
  rise,
});
const costOf = ({ layers }: Plan): number => layers[0]!.gateThreshold;
const judge = async ({ plan: judged }: Measured): Promise<Judged> => ({
  kinds: [
    { ratio: 1, upper: 1 },
    { ratio: 1 + 0.9 * costOf(judged), upper: 1 + costOf(judged) },
  ],
  kl: costOf(judged),
  agreement: 1 - costOf(judged),
});
const shown = ({ frontier }: Chosen): [string, number][] => frontier.map(({ stop, speedup }) => [stop, speedup]);

describe('the stops', () => {
  it('get the fastest plan within their limits', async () => {
    const candidates = [candidate(1.5, 0.004), candidate(1.45, 0.001), candidate(1.7, 0.009), candidate(2.5, 0.09)];
    const chosen = await chooseStops([...candidates, candidate(2, 0.02)], relu, judge);
    expect(shown(chosen)).toEqual([
      ['dense', 1],
      ['exact', 1.4],
      ['careful', 1.5],
      ['balanced', 1.7],
      ['fast', 2],
      ['fastest', 2.5],
    ]);
    expect(chosen.stops.balanced).toBe(candidates[2]!.plan);
    expect(chosen.frontier[3]!.perplexityRatio).toBeCloseTo(1 + 0.9 * 0.009); // of the text that suffers most
    expect(chosen.notes).toEqual([]);
  });

  it('step back to a safer plan where held-out text disagrees', async () => {
    const overfit = candidate(1.9, 0.013, 0.008);
    const chosen = await chooseStops([overfit, candidate(1.6, 0.007)], relu, judge);
    expect(chosen.frontier.find(({ stop }) => stop === 'balanced')!.speedup).toBe(1.6);
    expect(chosen.stops.fast).toBe(overfit.plan);
  });

  it('are as the stop before them where nothing faster holds', async () => {
    const chosen = await chooseStops([candidate(1.3, 0.001), candidate(1.9, 0.02)], relu, judge);
    expect(shown(chosen).slice(2)).toEqual([
      ['careful', 1.4],
      ['balanced', 1.4],
      ['fast', 1.9],
      ['fastest', 1.9],
    ]);
    expect(chosen.stops.balanced).toEqual(relu.stops.exact);
    expect(chosen.notes).toContain('balanced runs as careful: nothing faster was found.');
    const missed = await chooseStops([candidate(1.9, 0.2, 0.001)], relu, judge);
    expect(missed.notes).toContain('careful runs as exact: what was faster missed its limit on held-out text.');
  });

  it('are missing where even dense is faster', async () => {
    const chosen = await chooseStops([candidate(0.995, 0.001), candidate(1.2, 0.05)], silu, judge);
    expect(shown(chosen)).toEqual([
      ['dense', 1],
      ['fastest', 1.2],
    ]);
    expect(Object.keys(chosen.stops)).toEqual(['fastest']);
    expect(chosen.notes).toContain('There is no stop careful: nothing faster was found.');
  });

  it('never take a plan whose cost is no number', async () => {
    const broken = candidate(3, 0.001, NaN);
    expect(shown(await chooseStops([broken], silu, judge))).toEqual([['dense', 1]]);
    const nan = async (): Promise<Judged> => ({ kinds: [{ ratio: NaN, upper: NaN }], kl: NaN, agreement: 0 });
    expect(shown(await chooseStops([candidate(3, 0.001)], silu, nan))).toEqual([['dense', 1]]);
  });
});
