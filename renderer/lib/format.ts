/** '98 MB', '1.4 GB': decimal units, as file managers and download pages give them. */
export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const units = ['kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 'B';
  for (const next of units) {
    if (value < 1000) break;
    value /= 1000;
    unit = next;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${unit}`;
}

export function formatRate(tokensPerSecond: number): string {
  return `${tokensPerSecond < 100 ? tokensPerSecond.toFixed(1) : Math.round(tokensPerSecond)} tok/s`;
}

/** Milliseconds as '180 ms' or '2.4 s'. */
export function formatDuration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export const formatCount = (n: number): string => n.toLocaleString('en');

export const formatPercent = (fraction: number): string => `${Math.round(fraction * 100)} %`;

const isaNames: Record<string, string> = { scalar: 'scalar', avx2: 'AVX2', avx512: 'AVX-512', neon: 'NEON' };
export const formatIsa = (isa: string): string => isaNames[isa] ?? isa;
