import { stopLimits } from '../contract/sparsity';
import type { Comparison, LayerPlan, ModelSpec, NativeSession, Plan } from '../engine/addon';
import { denseLayer, droppedEnergy, gatedLayer, gateThresholds, shareAt, thresholdAt, type GateCurve } from './gates';
import type { Journal } from './journal';
import { compareOn, keyOf, measureSpeeds, qualityByKind, qualityOf, type Speed } from './measure';
import { whole } from './position';
import { limitedStops } from './stops';
import { portion, type Window } from './text';

/** A plan with what the search found of it. */
export interface Candidate {
  plan: Plan;
  /** 'gates 0.010, vocabulary 4 bits 1.5'. */
  name: string;
  speedup: number;
  /** Of perplexity, on the kind of text that suffers most: what is expected, or its upper bound. */
  rise: number;
}

export interface SearchOptions {
  session: NativeSession;
  spec: Pick<ModelSpec, 'layers' | 'ffnWidth' | 'activation'>;
  /** Whether plans may skip neurons here (LoadOptions.byNeuron, or true zeros). */
  canSkip: boolean;
  windows: readonly Window[];
  /** For the timing. */
  text: Int32Array;
  journal: Journal;
  /** Further ways to run the layers, such as with predictors. Costs: KL per dropped energy, by layer. */
  furtherChoices?(curves: GateCurve[], costs: number[]): Promise<{ name: string; layers: LayerPlan[] }[]>;
  /** 0…1 */
  onStep(fraction: number, detail: string): void;
  /** Called often; may throw. */
  check(): void;
}

export interface SearchResult {
  /** All that was tried on the whole search text, the fastest first. */
  candidates: Candidate[];
  /** Layers, the least sensitive first. */
  sensitivity: number[];
}

/** Half of the layers or half of the output head. */
interface Choice {
  name: string;
  /** What it should cost in perplexity, as a share. */
  rise: number;
  /** Time of a token, dense = 1, with the other half lossless. */
  time: number;
}
interface LayerChoice extends Choice {
  layers: LayerPlan[];
}
interface HeadChoice extends Choice {
  vocabulary: Plan['vocabulary'];
}

const heads: Plan['vocabulary'][] = [
  ...[8, 7, 6, 5, 4, 3, 2, 1].map((margin) => ({ bits: 4 as const, margin })),
  ...[8, 7, 6, 5, 4, 3].map((margin) => ({ bits: 2 as const, margin })),
];
/** Nats a token that the skipped neurons of all layers shall cost. */
const gateLevels = [0.001, 0.002, 0.0035, 0.006, 0.01, 0.02, 0.04, 0.08];
const speedSteps = 64;
/** Of a stop's limit: a plan well within it is there when held-out text finds the first one wanting. */
const aims = [1, 0.5];
const triesPerAim = 2;

/** Whether what is skipped at a gate threshold of 0 is zero. */
export function hasZeros({ activation }: Pick<ModelSpec, 'activation'>): boolean {
  return activation === 'relu' || activation === 'drelu';
}

/** Looks for the fastest plan within each stop's limit. Rises add up, about, and so do savings of time: halves are measured apart, then pairs. */
export class Search {
  private readonly base: LayerPlan[];
  private readonly probe: Window[];
  private readonly pool: Candidate[] = [];

  constructor(private readonly o: SearchOptions) {
    const lossless = o.canSkip && hasZeros(o.spec) ? gatedLayer(0) : denseLayer;
    this.base = Array.from({ length: o.spec.layers }, () => lossless);
    this.probe = portion(o.windows, 0.2);
  }

  async run(): Promise<SearchResult> {
    const { spec, canSkip } = this.o;
    const choices: { name: string; layers: LayerPlan[] }[] = [];
    let others = 0;
    const sensitivity = Array.from({ length: spec.layers }, (_, i) => i);
    if (canSkip) {
      const curves = await this.curves();
      const costs = await this.costs(curves);
      sensitivity.sort((a, b) => costs[a]! - costs[b]!);
      choices.push(...((await this.o.furtherChoices?.(curves, costs)) ?? []));
      others = choices.length;
      for (const kl of gateLevels) choices.push(this.gateChoice(curves, costs, kl));
    }
    await this.choosePairs(await this.measureHalves(choices, others));
    return { candidates: this.pool.sort((a, b) => b.speedup - a.speedup), sensitivity };
  }

  /** Shares of computed neurons over thresholds that double, until a third of the lossless share is left. */
  private async curves(): Promise<GateCurve[]> {
    const { journal, spec } = this.o;
    return journal.remember('gate curves', async () => {
      const curves = Array.from({ length: spec.layers }, (): GateCurve => ({ thresholds: [], shares: [] }));
      const done = new Set<number>();
      const thresholds = [0, ...Array.from({ length: 15 }, (_, i) => 2 ** (i - 8))];
      for (const [index, threshold] of thresholds.entries()) {
        this.o.onStep(0.15 * (index / thresholds.length), 'Listening to how strongly neurons fire.');
        // Layers that are through stay where they are: a model that is broken elsewhere says nothing of this layer.
        const layers = curves.map((curve, i) => gatedLayer(done.has(i) ? curve.thresholds.at(-1)! : threshold));
        const [speed] = await this.speeds([{ layers, vocabulary: whole }], 1, 96);
        speed!.densities.forEach((share, i) => {
          const curve = curves[i]!;
          if (done.has(i)) return;
          curve.thresholds.push(threshold);
          curve.shares.push(Math.min(share, curve.shares.at(-1) ?? 1)); // chance may lift it a little
          if (share <= curve.shares[0]! / 3) done.add(i);
        });
        if (done.size === spec.layers) break;
      }
      return curves;
    });
  }

  /** KL per dropped energy of each layer, from a run in which only this layer drops half of what fires. */
  private async costs(curves: GateCurve[]): Promise<number[]> {
    const windows = portion(this.o.windows, 0.03, 96);
    const costs: number[] = [];
    for (const [layer, curve] of curves.entries()) {
      this.o.onStep(
        0.15 + 0.2 * (layer / curves.length),
        `Trying how much layer ${layer + 1} of ${curves.length} matters.`,
      );
      const threshold = thresholdAt(curve, curve.shares[0]! / 2);
      const layers = this.base.map((plan, i) => (i === layer ? gatedLayer(threshold) : plan));
      const { kl } = qualityOf(await this.compare({ layers, vocabulary: whole }, windows, 'cost'));
      const energy = droppedEnergy(curve, threshold);
      costs.push(energy > 0 ? Math.max(0, kl) / energy : 0);
    }
    // A layer that seems to cost nothing was tried on too little text.
    const sorted = [...costs].sort((a, b) => a - b);
    const floor = Math.max(1e-9, 0.1 * sorted[sorted.length >> 1]!);
    return costs.map((cost) => Math.max(cost, floor));
  }

  private gateChoice(curves: GateCurve[], costs: number[], kl: number): { name: string; layers: LayerPlan[] } {
    const zeros = hasZeros(this.o.spec);
    const layers = gateThresholds(curves, costs, kl).map((threshold, i) =>
      // Reading all gates first pays only where enough is skipped.
      !zeros && shareAt(curves[i]!, threshold) > 0.8 ? denseLayer : gatedLayer(threshold),
    );
    return { name: `gates ${kl}`, layers };
  }

  private async measureHalves(
    choices: Omit<LayerChoice, 'rise' | 'time'>[],
    /** How many of them are no gate levels. */
    others: number,
  ): Promise<{ layers: LayerChoice[]; heads: HeadChoice[] }> {
    const { onStep, journal } = this.o;
    onStep(0.35, 'Timing ways to run the layers and the output head.');
    const plans: Plan[] = [
      { layers: this.base, vocabulary: whole },
      ...heads.map((vocabulary) => ({ layers: this.base, vocabulary })),
      ...choices.map(({ layers }) => ({ layers, vocabulary: whole })),
    ];
    const speeds = await journal.remember(`halves ${plans.map(keyOf).join()}`, () => this.speeds([null, ...plans], 5));
    const measured = speeds.slice(1).map(({ speedup }) => 1 / speedup);
    const base = measured[0]!;
    // Within a series each member reads less than the one before.
    const times = [
      base,
      ...([4, 2] as const).flatMap((bits) => falling(measured.filter((_, i) => heads[i - 1]?.bits === bits))),
      ...measured.slice(1 + heads.length, 1 + heads.length + others),
      ...falling(measured.slice(1 + heads.length + others)),
    ];
    const none = { rise: 0, time: base };
    const result = {
      layers: [{ ...none, name: 'lossless layers', layers: this.base }],
      heads: [{ ...none, name: 'whole vocabulary', vocabulary: whole }],
    };
    let hopeless = 0; // bits whose rise is beyond every limit; smaller margins are no better
    const worst = Math.max(...limitedStops.map((stop) => stopLimits[stop]!));
    for (const [i, vocabulary] of heads.entries()) {
      const time = times[1 + i]!;
      const name = `vocabulary ${vocabulary.bits} bits ${vocabulary.margin}`;
      if (vocabulary.bits === hopeless || time > 0.99 * base) continue;
      onStep(0.4 + (0.25 * i) / heads.length, `Trying the output head with ${vocabulary.bits} bits.`);
      const rise = await this.expectedRise({ layers: this.base, vocabulary });
      if (rise > worst) hopeless = vocabulary.bits;
      else result.heads.push({ name, vocabulary, rise, time });
    }
    for (const [i, choice] of choices.entries()) {
      const time = times[1 + heads.length + i]!;
      if (time > 0.995 * base) continue;
      onStep(0.65 + (0.15 * i) / choices.length, `Trying the layers with ${choice.name}.`);
      const rise = await this.expectedRise({ layers: choice.layers, vocabulary: whole });
      if (rise <= worst) result.layers.push({ ...choice, rise, time });
    }
    return result;
  }

  /** For every stop the pair that should be the fastest within its limit; what a try shows corrects the expectation of the next. */
  private async choosePairs({ layers, heads }: { layers: LayerChoice[]; heads: HeadChoice[] }): Promise<void> {
    const base = layers[0]!.time;
    const pairs = layers
      .flatMap((a) => heads.map((b) => ({ a, b, sum: a.rise + b.rise, tried: NaN, time: a.time + b.time - base })))
      .filter(({ sum, time }) => sum > 0 && time < 0.99 * Math.min(1, base))
      .sort((x, y) => x.time - y.time);
    let factor = 1; // rise of a pair over the sum of its halves'
    for (const [index, stop] of limitedStops.entries()) {
      for (let attempt = 0; attempt < triesPerAim * aims.length; attempt++) {
        const limit = stopLimits[stop]! * aims[Math.floor(attempt / triesPerAim)]!;
        const pair = pairs.find(({ sum, tried }) => (Number.isNaN(tried) ? sum * factor : tried) <= limit);
        if (!pair || !Number.isNaN(pair.tried)) continue;
        const part = attempt / triesPerAim / aims.length;
        this.o.onStep(0.8 + (0.2 * (index + part)) / limitedStops.length, `Looking for ${stop}.`);
        const plan = { layers: pair.a.layers, vocabulary: pair.b.vocabulary };
        const rise = (pair.tried = await this.rise(plan, this.o.windows, 'search'));
        this.pool.push({ plan, name: `${pair.a.name}, ${pair.b.name}`, speedup: 1 / pair.time, rise });
        factor = Math.min(2, Math.max(0.5, rise / pair.sum));
      }
    }
  }

  private speeds(plans: (Plan | null)[], rounds: number, steps = speedSteps): Promise<Speed[]> {
    const { session, text, spec, check } = this.o;
    const depth = Math.min(64, text.length >> 2);
    return measureSpeeds(session, plans, { text, steps, depth, rounds, neurons: spec.ffnWidth, onRound: check });
  }

  private compare(plan: Plan, windows: readonly Window[], set: string): Promise<Comparison[]> {
    const { journal, session, check } = this.o;
    return journal.remember(`${set} ${keyOf(plan)}`, () => compareOn(session, plan, windows, check));
  }

  /**
   * What the plan costs on the kind of text that suffers most. On text that the dense model drew at temperature 1, the expected
   * logarithm of the perplexity ratio is the KL divergence, which a few hundred tokens tell well; the ratio itself takes thousands.
   */
  private async expectedRise(plan: Plan): Promise<number> {
    const kinds = Object.values(qualityByKind(this.probe, await this.compare(plan, this.probe, 'probe')));
    return Math.expm1(Math.max(...kinds.map(({ kl }) => kl)));
  }

  /** The same on enough text for the ratio of the other kinds, with its standard error. */
  private async rise(plan: Plan, windows: readonly Window[], set: string): Promise<number> {
    const kinds = qualityByKind(windows, await this.compare(plan, windows, set));
    return Math.max(
      ...Object.entries(kinds).map(([kind, { kl, upper }]) => (kind === 'free' ? Math.expm1(kl) : upper - 1)),
    );
  }
}

/** The nearest values that never rise (pool adjacent violators): what noise made of a falling series. */
export function falling(values: readonly number[]): number[] {
  const pools: { sum: number; count: number }[] = [];
  for (const value of values) {
    pools.push({ sum: value, count: 1 });
    for (let last = pools.length - 1; last > 0; last--) {
      const [before, after] = [pools[last - 1]!, pools[last]!];
      if (before.sum / before.count >= after.sum / after.count) break;
      pools.splice(last - 1, 2, { sum: before.sum + after.sum, count: before.count + after.count });
    }
  }
  return pools.flatMap(({ sum, count }) => Array.from({ length: count }, () => sum / count));
}
