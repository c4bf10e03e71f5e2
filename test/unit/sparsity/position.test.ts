import { describe, expect, it } from 'vitest';
import { stopNames, stopPosition } from '../../../electron/contract/sparsity';
import type { Plan } from '../../../electron/engine/addon';
import {
  corrected,
  correctEvery,
  describe as describePlace,
  exactPlan,
  modelStops,
  parseSparsity,
  planAt,
  pointAt,
  stopList,
  type PackStops,
} from '../../../electron/sparsity/position';
import { refusal, samplePack } from './helpers';

const layers = 10;
const uniform = (gateThreshold: number, bits: 0 | 2 | 4 = 0): NonNullable<PackStops['fast']> => ({
  layers: Array.from({ length: layers }, () => ({
    mlp: 'screened',
    gateThreshold,
    scoreThreshold: 0,
    headThreshold: null,
  })),
  vocabulary: { bits, margin: bits },
});
const all: PackStops = {
  exact: exactPlan(layers),
  careful: uniform(1),
  balanced: uniform(2),
  fast: uniform(3, 4),
  fastest: uniform(4, 2),
};
const between = (a: number, b: number, share: number): number => a + (b - a) * share;
const gates = (plan: ReturnType<typeof planAt>): number[] => plan!.layers.map(({ gateThreshold }) => gateThreshold);

describe('planAt', () => {
  it('is each stop’s plan at its place, and dense at 0', () => {
    expect(planAt({ stops: all }, 0, layers)).toBeNull();
    for (const stop of stopNames.slice(1)) {
      expect(planAt({ stops: all }, stopPosition(stop), layers)).toEqual(all[stop as keyof PackStops]);
    }
  });

  it('moves ⌊f·L⌋ layers between two stops, every tenth exactly', () => {
    for (let step = 0; step < 10; step++) {
      const position = between(stopPosition('balanced'), stopPosition('fast'), step / 10);
      const moved = gates(planAt({ stops: all }, position, layers)).filter((gate) => gate === 3);
      expect(moved, `at ${step}/10`).toHaveLength(step);
      const inside = between(stopPosition('balanced'), stopPosition('fast'), (step + 0.5) / 10);
      expect(gates(planAt({ stops: all }, inside, layers)).filter((gate) => gate === 3)).toHaveLength(step);
    }
  });

  it('moves the least sensitive layers first, by index without an order', () => {
    const position = between(stopPosition('balanced'), stopPosition('fast'), 0.3);
    expect(gates(planAt({ stops: all }, position, layers))).toEqual([3, 3, 3, 2, 2, 2, 2, 2, 2, 2]);
    const sensitivity = [9, 4, 0, 1, 2, 3, 5, 6, 7, 8];
    expect(gates(planAt({ stops: all, sensitivity }, position, layers))).toEqual([3, 2, 2, 2, 3, 2, 2, 2, 2, 3]);
  });

  it('changes the vocabulary half-way', () => {
    const at = (share: number): number =>
      planAt({ stops: all }, between(stopPosition('balanced'), stopPosition('fast'), share), layers)!.vocabulary.bits;
    expect([at(0.01), at(0.49), at(0.51), at(0.99)]).toEqual([0, 0, 4, 4]);
  });

  it('goes from dense to the first stop layer by layer', () => {
    const plan = planAt({ stops: all }, 0.1, layers)!;
    expect(plan.layers.map(({ mlp }) => mlp)).toEqual([...Array(5).fill('exact'), ...Array(5).fill('dense')]);
    expect(planAt({ stops: all }, 0.001, layers)).toBeNull();
  });

  it('gives the place of a missing stop to the nearest slower one', () => {
    const stops = { exact: exactPlan(layers), fast: uniform(3) };
    const at = (position: number): unknown => planAt({ stops }, position, layers);
    expect(at(stopPosition('careful'))).toEqual(stops.exact);
    expect(at(stopPosition('balanced'))).toEqual(stops.exact);
    expect(at(between(stopPosition('careful'), stopPosition('balanced'), 0.9))).toEqual(stops.exact);
    expect(at(1)).toEqual(stops.fast);
    expect(at(0.95)).toEqual(stops.fast);
    // Towards fast the layers move from what balanced stands for.
    const mixed = planAt({ stops }, between(stopPosition('balanced'), stopPosition('fast'), 0.5), layers)!;
    expect(mixed.layers.map(({ mlp }) => mlp)).toEqual([...Array(5).fill('screened'), ...Array(5).fill('exact')]);
  });

  it('is dense everywhere without stops', () => {
    for (let i = 0; i <= 50; i++) expect(planAt({ stops: {} }, i / 50, layers)).toBeNull();
  });

  it('never does more than one step back as the slider moves on, and leaves its stops as they are', () => {
    const before = JSON.stringify(all);
    let last = -1;
    for (let i = 0; i <= 1000; i++) {
      const plan = planAt({ stops: all }, i / 1000, layers);
      const sum = plan
        ? plan.layers.reduce((total, { mlp, gateThreshold }) => total + (mlp === 'dense' ? 0 : 1 + gateThreshold), 0)
        : 0;
      expect(sum).toBeGreaterThanOrEqual(last);
      last = sum;
    }
    expect(last).toBe(layers * 5);
    expect(JSON.stringify(all)).toBe(before);
  });
});

describe('the stops of a model', () => {
  it('have exact wherever the activation leaves zeros', () => {
    for (const activation of ['relu', 'drelu'] as const) {
      expect(modelStops({ activation, layers: 2 }).exact).toEqual({
        layers: Array(2).fill({ mlp: 'exact', gateThreshold: 0, scoreThreshold: 0, headThreshold: null }),
        vocabulary: { bits: 0, margin: 0 },
      });
    }
    expect(modelStops({ activation: 'silu', layers: 2 })).toEqual({});
    expect(modelStops({ activation: 'relu', layers }, all)).toBe(all);
    expect(stopList({ fast: all.fast, exact: all.exact })).toEqual(['dense', 'exact', 'fast']);
  });
});

describe('pointAt', () => {
  const { frontier } = samplePack(); // dense, exact, fast

  it('gives measured points as they are', () => {
    const { figures, interpolated } = pointAt(frontier, stopPosition('fast'))!;
    expect([figures.tokensPerSecond, figures.perplexityRatio, interpolated]).toEqual([400, 1.02, false]);
  });

  it('marks what lies between as interpolated, and between its neighbours', () => {
    const { figures, interpolated } = pointAt(frontier, 0.1)!;
    expect(interpolated).toBe(true);
    expect(figures.density).toBeCloseTo(0.55);
    expect(figures.tokensPerSecond).toBeCloseTo(240); // times are linear: half of the layers at 1/200, half at 1/300
    expect(pointAt(frontier, 0.7)!.figures.kl).toBeCloseTo(0.005);
  });

  it('has nothing to say without measurements', () => expect(pointAt([], 0.5)).toBeNull());
});

describe('names of places', () => {
  it('are the stop, or a percentage between two', () => {
    expect(stopNames.map((stop) => describePlace(stopPosition(stop)))).toEqual([...stopNames]);
    expect(describePlace(0.62)).toBe('62 %');
    expect(describePlace(0.62, ['dense', 'exact'])).toBe('exact');
  });

  it.each([
    ['dense', 0],
    ['balanced', 0.6],
    [' Fastest ', 1],
    ['0', 0],
    ['0.0', 0],
    ['.25', 0.25],
    ['0.62', 0.62],
    ['1.0', 1],
  ])('%j on the command line', (text, position) => expect(parseSparsity(text)).toBeCloseTo(position, 12));

  it.each(['', ' ', 'quick', '1.1', '-0.1', '62 %', '1e-1', '0x1', 'NaN', 'Infinity', '0.5.5', '__proto__'])(
    '%j is refused with what may be given',
    async (text) => {
      const { code, message } = await refusal(() => parseSparsity(text));
      expect(code).toBe('bad-request');
      expect(message).toContain('dense, exact, careful, balanced, fast, fastest');
    },
  );
});

describe('dense correction', () => {
  const lossy = (mlp: 'exact' | 'predicted', gateThreshold: number): Plan => ({
    layers: [{ mlp, gateThreshold, scoreThreshold: 0, headThreshold: null }],
    vocabulary: { bits: 4, margin: 1 },
  });

  it('is only added where keys and values are not dense’s', () => {
    expect(corrected(lossy('exact', 0))).toEqual(lossy('exact', 0));
    expect(corrected(lossy('exact', 0.1))).toEqual({ ...lossy('exact', 0.1), correctEvery });
    expect(corrected(lossy('predicted', 0))).toEqual({ ...lossy('predicted', 0), correctEvery });
  });

  it('stays with a stop that has it on the way there', () => {
    const stops = { fast: corrected(lossy('predicted', 0)) };
    expect(planAt({ stops }, 0.7, 1)?.correctEvery).toBe(correctEvery);
  });
});
