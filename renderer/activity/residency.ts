import type { Residency } from '../../electron/contract/devices';
import { formatBytes, formatCount, formatDuration } from '../lib/format';
import { formatShare } from './words';

export const places = ['gpu', 'memory', 'disk'] as const;
export type Place = (typeof places)[number];

export const placeNames: Record<Place, string> = { gpu: 'GPU', memory: 'Main memory', disk: 'Disk' };

/** Neurons of one layer, or of all, by where they lie. */
export type Counts = Record<Place, number>;

export const layersOf = ({ gpu, memory, disk }: Residency): Counts[] =>
  Array.from(gpu, (count, layer) => ({ gpu: count, memory: memory[layer] ?? 0, disk: disk[layer] ?? 0 }));

export const sumOf = (layers: readonly Counts[]): Counts =>
  layers.reduce(
    (sum, { gpu, memory, disk }) => ({ gpu: sum.gpu + gpu, memory: sum.memory + memory, disk: sum.disk + disk }),
    { gpu: 0, memory: 0, disk: 0 },
  );

export const bytesOf = ({ gpuBytes, memoryBytes, diskBytes }: Residency): Counts => ({
  gpu: gpuBytes,
  memory: memoryBytes,
  disk: diskBytes,
});

/** Where all neurons lie; null where they lie in several places. */
export function onlyPlace(counts: Counts): Place | null {
  const there = places.filter((place) => counts[place] > 0);
  return there.length === 1 ? there[0]! : null;
}

/** Left end and width of each place that occurs, as shares of the bar. */
export function stackOf(counts: Counts): { place: Place; from: number; share: number }[] {
  const all = counts.gpu + counts.memory + counts.disk;
  let from = 0;
  return places.flatMap((place) => {
    if (counts[place] === 0) return [];
    const part = { place, from, share: counts[place] / all };
    from += part.share;
    return [part];
  });
}

export const countWords = (counts: Counts): string =>
  stackOf(counts)
    .map(({ place }) => `${placeNames[place]} ${formatCount(counts[place])}`)
    .join(' · ');

/** What fetching neurons cost in some time. */
export type Cost = Pick<Residency, 'hits' | 'misses' | 'readBytes' | 'waitedSeconds'>;

export const noCost: Cost = { hits: 0, misses: 0, readBytes: 0, waitedSeconds: 0 };

export const addCost = (one: Cost, other: Cost): Cost => ({
  hits: one.hits + other.hits,
  misses: one.misses + other.misses,
  readBytes: one.readBytes + other.readBytes,
  waitedSeconds: one.waitedSeconds + other.waitedSeconds,
});

/** Cells of a line: neurons asked for, share of them that was in memory, bytes read, time waited. */
export function costCells({ hits, misses, readBytes, waitedSeconds }: Cost): string[] {
  const asked = hits + misses;
  return [
    formatCount(asked),
    asked === 0 ? '–' : formatShare(hits / asked),
    formatBytes(readBytes),
    formatDuration(waitedSeconds * 1000),
  ];
}
