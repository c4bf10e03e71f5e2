import type { LayerPlan } from '../engine/addon';

/** Of one layer: the share of its neurons that are computed when those below a threshold are skipped. Thresholds ascend from 0. */
export interface GateCurve {
  thresholds: number[];
  shares: number[];
}

/** Share of the neurons that a threshold leaves. */
export function shareAt({ thresholds, shares }: GateCurve, threshold: number): number {
  const next = thresholds.findIndex((value) => value > threshold);
  if (next < 0) return shares[shares.length - 1]!;
  if (next === 0) return shares[0]!;
  const part = (threshold - thresholds[next - 1]!) / (thresholds[next]! - thresholds[next - 1]!);
  return shares[next - 1]! + part * (shares[next]! - shares[next - 1]!);
}

/** The threshold that leaves this share, at most the curve's last. */
export function thresholdAt({ thresholds, shares }: GateCurve, share: number): number {
  const next = shares.findIndex((value) => value < share);
  if (next < 0) return thresholds[thresholds.length - 1]!;
  if (next === 0) return thresholds[0]!;
  const part = (shares[next - 1]! - share) / (shares[next - 1]! - shares[next]!);
  return thresholds[next - 1]! + part * (thresholds[next]! - thresholds[next - 1]!);
}

/** Sum of the squares of the gates that a threshold skips, per neuron. */
export function droppedEnergy(curve: GateCurve, threshold: number): number {
  let energy = 0;
  for (let i = 1; i < curve.thresholds.length; i++) {
    const [low, high] = [curve.thresholds[i - 1]!, Math.min(threshold, curve.thresholds[i]!)];
    if (high <= low) break;
    const share = shareAt(curve, low) - shareAt(curve, high);
    energy += (share * (low * low + low * high + high * high)) / 3; // of gates spread evenly between the two
  }
  return energy;
}

/**
 * Gate thresholds of all layers that together cost about `kl` nats a token and skip the most neurons for it. To second order a
 * layer's KL is `cost` · the energy it drops (as in optimal brain damage, LeCun 1989), so the last neuron that each layer skips
 * costs the same where cost · threshold² is the same.
 */
export function gateThresholds(curves: readonly GateCurve[], costs: readonly number[], kl: number): number[] {
  const last = curves.map(({ thresholds }) => thresholds[thresholds.length - 1]!);
  const at = (level: number): number[] => costs.map((cost, i) => Math.min(last[i]!, level / Math.sqrt(cost)));
  const total = (level: number): number =>
    at(level).reduce((sum, threshold, i) => sum + costs[i]! * droppedEnergy(curves[i]!, threshold), 0);
  let [low, high] = [0, Math.max(...costs.map((cost, i) => last[i]! * Math.sqrt(cost)))];
  if (!(high > 0)) return last.map(() => 0);
  for (let step = 0; step < 40; step++) {
    const middle = (low + high) / 2;
    if (total(middle) > kl) high = middle;
    else low = middle;
  }
  return at(low);
}

export const denseLayer: LayerPlan = { mlp: 'dense', gateThreshold: 0, scoreThreshold: 0, headThreshold: null };

/** A layer that computes all gates and skips what does not exceed the threshold. */
export function gatedLayer(gateThreshold: number): LayerPlan {
  return { ...denseLayer, mlp: 'exact', gateThreshold };
}
