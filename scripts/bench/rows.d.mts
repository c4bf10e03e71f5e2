export interface Summary {
  median: number;
  min: number;
  max: number;
  values: number[];
}
export interface Bandwidth {
  weightBytesPerToken?: number;
  ourGBps?: number;
  readGBps?: number;
  readShare?: number;
}
export interface RowInput extends Bandwidth {
  label: string;
  metric: string;
  unit: string;
  better?: 'higher' | 'lower';
  peer: string;
  ours: number[];
  theirs: number[];
  reason?: string;
}
export interface Row extends Bandwidth {
  label: string;
  metric: string;
  ratio: number | null;
  ratioMin: number | null;
  ratioMax: number | null;
  ours: Summary | null;
  theirs: Summary | null;
  reason?: string;
}
export function summarise(values: number[]): Summary | null;
export function makeRow(input: RowInput): Row;
export function bandwidth(
  tokensPerSecond: number[],
  read: { weightBytesPerToken: number; readGBps: number[] },
): Bandwidth;
export function table(rows: Row[]): string;
