import type { Predictors } from '../engine/addon';

export type PredictorKind = keyof Predictors;
export const predictorKinds = ['mlp', 'heads'] as const satisfies readonly PredictorKind[];

/** How predictors.onnx calls them: blk.N.mlp.… and blk.N.head.… */
const labels: Record<PredictorKind, string> = { mlp: 'mlp', heads: 'head' };
const pattern = /^blk\.(0|[1-9]\d{0,3})\.(mlp|head)\.([a-z]+)$/;

/** 'blk.3.mlp.score'. Parts: in, score (values); a, b, bias (initialisers); source, relu, rank (metadata). */
export function nameOf(layer: number, kind: PredictorKind, part: string): string {
  return `blk.${layer}.${labels[kind]}.${part}`;
}

/** Null for a name of any other form. */
export function parseName(name: string): { layer: number; kind: PredictorKind; part: string } | null {
  const [, layer, label, part] = pattern.exec(name) ?? [];
  if (layer === undefined || part === undefined) return null;
  return { layer: Number(layer), kind: label === 'mlp' ? 'mlp' : 'heads', part };
}
