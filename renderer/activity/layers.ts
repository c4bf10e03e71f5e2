import type { FrameRoute, SummaryFrame } from '../../electron/contract/frames';
import { canMiss } from './states';
import type { FrameTrack } from './track';

/** One line of the table: a layer in one token, or the mean over several. */
export interface LayerRow {
  layer: number;
  route: FrameRoute | 'mixed';
  /** Shares of the layer's neurons. */
  named: number;
  computed: number;
  active: number;
  /** Heads computed, of `heads`. */
  heads: number;
  /** Of the neurons named, those that were active; of the active ones, those that were computed. Audit tokens alone; else null. */
  precision: number | null;
  recall: number | null;
  milliseconds: number;
  bytes: number;
  denseBytes: number;
  missed: number | null;
}

interface Sums {
  routes: Set<FrameRoute>;
  named: number;
  computed: number;
  active: number;
  heads: number;
  microseconds: number;
  bytes: number;
  denseBytes: number;
  // audit tokens in which the layer can miss neurons
  auditNamed: number;
  auditNamedActive: number;
  auditActive: number;
  auditMissed: number;
  audits: number;
}

const empty = (): Sums => ({
  routes: new Set(),
  named: 0,
  computed: 0,
  active: 0,
  heads: 0,
  microseconds: 0,
  bytes: 0,
  denseBytes: 0,
  auditNamed: 0,
  auditNamedActive: 0,
  auditActive: 0,
  auditMissed: 0,
  audits: 0,
});

/** Adds frames one by one; `rows` may be asked for at any time. */
export class LayerTotals {
  private sums: Sums[] = [];
  private neurons = 0;
  frames = 0;
  audits = 0;

  add(frame: SummaryFrame): void {
    if (this.sums.length !== frame.layers.length) {
      this.sums = frame.layers.map(empty);
      this.frames = 0;
      this.audits = 0;
    }
    this.neurons = frame.neurons;
    this.frames++;
    if (frame.audit) this.audits++;
    frame.layers.forEach((layer, i) => {
      const sum = this.sums[i]!;
      sum.routes.add(layer.route);
      sum.named += layer.named;
      sum.computed += layer.computed;
      sum.active += layer.active;
      sum.heads += layer.headsComputed;
      sum.microseconds += layer.microseconds;
      sum.bytes += layer.bytes;
      sum.denseBytes += layer.denseBytes;
      if (!frame.audit || !canMiss(layer)) return;
      sum.audits++;
      if (layer.names) {
        sum.auditNamed += layer.named;
        sum.auditNamedActive += layer.active;
      }
      sum.auditActive += layer.active + layer.missed;
      sum.auditMissed += layer.missed;
    });
  }

  rows(): LayerRow[] {
    const { frames, neurons } = this;
    return this.sums.map((sum, layer) => {
      const audited = sum.audits > 0;
      return {
        layer,
        route: sum.routes.size === 1 ? [...sum.routes][0]! : 'mixed',
        named: sum.named / frames / neurons,
        computed: sum.computed / frames / neurons,
        active: sum.active / frames / neurons,
        heads: sum.heads / frames,
        precision: audited && sum.auditNamed > 0 ? sum.auditNamedActive / sum.auditNamed : null,
        recall: audited && sum.auditActive > 0 ? 1 - sum.auditMissed / sum.auditActive : null,
        missed: audited ? sum.auditMissed / sum.audits : null,
        milliseconds: sum.microseconds / frames / 1000,
        bytes: sum.bytes / frames,
        denseBytes: sum.denseBytes / frames,
      };
    });
  }
}

/** The token's own figures; precision and recall from all audit tokens of the track whose frames are here. */
export function trackTotals(track: FrameTrack, most = 2048): LayerTotals {
  const totals = new LayerTotals();
  for (let i = Math.max(0, track.length - most); i < track.length; i++) {
    const frame = track.bytes(i) ? track.frame(i) : null;
    if (frame) totals.add(frame);
  }
  return totals;
}

export function frameRows(frame: SummaryFrame): LayerRow[] {
  const totals = new LayerTotals();
  totals.add(frame);
  return totals.rows();
}

/** 'route' first, then what a person compares; the columns of the table and of the CSV. */
export const layerColumns = [
  'Layer',
  'Route',
  'Predicted',
  'Computed',
  'Active',
  'Heads',
  'Precision',
  'Recall',
  'Time',
  'Read',
  'Saved',
] as const;
