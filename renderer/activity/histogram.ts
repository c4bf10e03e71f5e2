import { neuronState, type RecordFrame } from '../../electron/contract/frames';
import { countBits } from './cells';

export interface Histogram {
  /** |act(gate)| of the active neurons: `counts[i]` lie in [edges[i], edges[i + 1]). */
  edges: Float64Array;
  counts: Uint32Array;
  /** Where a neuron begins to count as active. */
  threshold: number;
  active: number;
  /** Computed, but at or below the threshold. */
  inactive: number;
  notComputed: number;
  missed: number;
  /** What the horizontal axis shows: |act(gate)|, or |h| where gates are not known. */
  of: 'gate' | 'value';
}

/** The gate's activation; drelu's gate is a plain relu. */
export function activate(gate: number, activation: RecordFrame['activation']): number {
  switch (activation) {
    case 'silu':
      return gate / (1 + Math.exp(-gate));
    case 'gelu':
      return 0.5 * gate * (1 + Math.tanh(0.7978845608028654 * (gate + 0.044715 * gate ** 3)));
    default:
      return Math.max(0, gate);
  }
}

export function layerHistogram(record: RecordFrame, layer: number, bins = 40): Histogram {
  const about = record.layers[layer]!;
  const [from, to] = [record.offsets[layer]!, record.offsets[layer + 1]!];
  const sizes = new Float64Array(to - from);
  for (let i = from; i < to; i++) {
    sizes[i - from] = about.gatesKnown
      ? Math.abs(activate(record.gates[i]!, record.activation))
      : Math.abs(record.values[i]!);
  }
  let max = about.gatesKnown ? about.gateThreshold : 0;
  for (const size of sizes) if (size > max) max = size;
  const top = max > 0 ? max * 1.0001 : 1;
  const edges = Float64Array.from({ length: bins + 1 }, (_, i) => (i * top) / bins);
  const counts = new Uint32Array(bins);
  for (const size of sizes) counts[Math.min(bins - 1, Math.floor((size / top) * bins))]!++;
  const computed = countBits(record, layer, neuronState.computed);
  const missed = countBits(record, layer, neuronState.missed);
  return {
    edges,
    counts,
    threshold: about.gateThreshold,
    active: sizes.length,
    inactive: computed - sizes.length,
    notComputed: record.neurons - computed,
    missed,
    of: about.gatesKnown ? 'gate' : 'value',
  };
}
