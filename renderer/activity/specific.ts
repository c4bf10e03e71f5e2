import type { NeuronRates } from '../../electron/contract/activity';
import { layerValues, neuronState, stateOf, type RecordFrame } from '../../electron/contract/frames';

export interface RankedNeuron {
  layer: number;
  neuron: number;
  /** Share of the looked-at tokens in which it was active, and of the session's. */
  rate: number;
  base: number;
  /** h in the token; null for a whole reply. */
  value: number | null;
  score: number;
}

/** A neuron that was never active has still been possible: half a token of each kind (Jeffreys). */
const smoothed = (active: number, tokens: number): number => (active + 0.5) / (tokens + 1);

/** Keeps the `most` best, best first; ties by place. */
class Best {
  private list: RankedNeuron[] = [];
  constructor(private readonly most: number) {}
  offer(score: number, make: () => Omit<RankedNeuron, 'score'>): void {
    const last = this.list[this.most - 1];
    if (last && score <= last.score) return;
    const at = this.list.findIndex((other) => other.score < score);
    this.list.splice(at < 0 ? this.list.length : at, 0, { ...make(), score });
    if (this.list.length > this.most) this.list.pop();
  }
  result(): RankedNeuron[] {
    return this.list;
  }
}

const fits = (rates: NeuronRates, layers: number, neurons: number): boolean =>
  rates.layers === layers && rates.neurons === neurons;

/** Active in this token though rarely in the session: −log2 of the base rate, in bits. */
export function specificToToken(record: RecordFrame, base: NeuronRates, most = 30): RankedNeuron[] {
  if (!fits(base, record.layers.length, record.neurons)) return [];
  const best = new Best(most);
  for (let layer = 0; layer < record.layers.length; layer++) {
    let values: Float32Array | null = null;
    for (let neuron = 0; neuron < record.neurons; neuron++) {
      if (!(stateOf(record, layer, neuron) & neuronState.active)) continue;
      const rate = smoothed(base.active[layer * record.neurons + neuron]!, base.tokens);
      best.offer(-Math.log2(rate), () => {
        values ??= layerValues(record, layer);
        return { layer, neuron, rate: 1, base: rate, value: values[neuron]! };
      });
    }
  }
  return best.result();
}

/**
 * Active more often in these tokens than in the session: how surprising its count is at the session's rate, in bits
 * (tokens · KL of the two rates), for those that are more active.
 */
export function specificToReply(reply: NeuronRates, base: NeuronRates, most = 30): RankedNeuron[] {
  if (!fits(base, reply.layers, reply.neurons) || reply.tokens === 0) return [];
  const best = new Best(most);
  for (let at = 0; at < reply.active.length; at++) {
    const rate = smoothed(reply.active[at]!, reply.tokens);
    const usual = smoothed(base.active[at]!, base.tokens);
    if (rate <= usual) continue;
    const bits =
      reply.tokens * (rate * Math.log2(rate / usual) + (1 - rate) * Math.log2((1 - rate) / Math.max(1e-9, 1 - usual)));
    best.offer(bits, () => ({
      layer: Math.floor(at / reply.neurons),
      neuron: at % reply.neurons,
      rate: reply.active[at]! / reply.tokens,
      base: base.tokens > 0 ? base.active[at]! / base.tokens : 0,
      value: null,
    }));
  }
  return best.result();
}

export interface Extremes {
  /** By layer: never active, and active in every token. */
  dead: number[];
  always: number[];
  /** The first of each, as places. */
  deadSample: { layer: number; neuron: number }[];
  alwaysSample: { layer: number; neuron: number }[];
}

export function extremes(rates: NeuronRates, sample = 200): Extremes {
  const found: Extremes = { dead: [], always: [], deadSample: [], alwaysSample: [] };
  for (let layer = 0; layer < rates.layers; layer++) {
    let [dead, always] = [0, 0];
    for (let neuron = 0; neuron < rates.neurons; neuron++) {
      const active = rates.active[layer * rates.neurons + neuron]!;
      if (active === 0) {
        dead++;
        if (found.deadSample.length < sample) found.deadSample.push({ layer, neuron });
      }
      if (rates.tokens > 0 && active === rates.tokens) {
        always++;
        if (found.alwaysSample.length < sample) found.alwaysSample.push({ layer, neuron });
      }
    }
    found.dead.push(dead);
    found.always.push(always);
  }
  return found;
}
