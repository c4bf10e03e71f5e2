import { stopNames, stopPosition, type StopName } from '../../electron/contract/sparsity';

const smallStep = 0.02;
/** As near as this a stop draws the thumb: about 7 pixels of the panel's slider. */
const reach = 0.026;

/** Whole per cent: what names and provenance can tell apart. */
const tidy = (position: number): number => Number(Math.min(1, Math.max(0, position)).toFixed(2));

/** Where the pointer left the thumb, or the stop next to it. */
export function snap(position: number, stops: readonly StopName[]): number {
  const near = stops.map(stopPosition).find((at) => Math.abs(at - position) <= reach);
  return near ?? tidy(position);
}

/** The place that a key leads to; null for keys that are not the slider's. */
export function stepByKey(key: string, position: number, stops: readonly StopName[]): number | null {
  const places = stopNames.filter((stop) => stops.includes(stop)).map(stopPosition);
  switch (key) {
    case 'ArrowRight':
    case 'ArrowUp':
      return tidy(position + smallStep);
    case 'ArrowLeft':
    case 'ArrowDown':
      return tidy(position - smallStep);
    case 'PageUp':
      return places.find((at) => at > position + 1e-6) ?? position;
    case 'PageDown':
      return [...places].reverse().find((at) => at < position - 1e-6) ?? position;
    case 'Home':
      return 0;
    case 'End':
      return 1;
    default:
      return null;
  }
}
