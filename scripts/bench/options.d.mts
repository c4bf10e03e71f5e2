export interface BenchmarkOptions {
  quick: boolean;
  help: boolean;
  json: boolean;
  gemma: string | null;
  growth: boolean;
  repetitions: number;
  threads: number;
  shapes: { shape: string; type: string }[];
  nodeLlamaCpp: boolean;
  save: boolean;
}
export const usage: string;
export function readOptions(args: string[]): BenchmarkOptions;
