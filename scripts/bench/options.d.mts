export interface BenchmarkOptions {
  quick: boolean;
  help: boolean;
  json: boolean;
  gemma: string | null;
  growth: boolean;
  repetitions: number;
  threads: number;
  shapes: { shape: string; type: string }[];
  sparse: { shape: string; type: string; density: number; heads?: number }[];
  disk: { shape: string; type: string; density: number }[];
  nodeLlamaCpp: boolean;
  save: boolean;
}
export const usage: string;
export function readOptions(args: string[]): BenchmarkOptions;
