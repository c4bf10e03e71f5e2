import type { Histogram } from '../activity/histogram';

/** SVG paths of small charts; pure. Pixels; y grows downwards. */
export interface PlotBox {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

export interface SeriesDrawing {
  /** Broken where a value is not known. */
  line: string;
  /** Single values other than 0, where there is room for them. */
  dots: { x: number; y: number }[];
  zero: number;
  min: number;
  max: number;
}

const tenth = (value: number): number => Math.round(value * 10) / 10;

/** One neuron's or head's values over tokens. More values than pixels: the extremes of each pixel, so that no peak is lost. */
export function drawSeries(values: Float32Array, { left, right, top, bottom }: PlotBox): SeriesDrawing {
  let [min, max] = [0, 0];
  for (const value of values) {
    if (value < min) min = value;
    if (value > max) max = value;
  }
  if (min === max) max = min + 1;
  const across = (i: number): number => tenth(left + ((i + 0.5) / Math.max(1, values.length)) * (right - left));
  const up = (value: number): number => tenth(bottom - ((value - min) / (max - min)) * (bottom - top));
  const each = Math.max(1, Math.ceil(values.length / Math.max(1, right - left)));
  let line = '';
  let pen = false;
  const dots: { x: number; y: number }[] = [];
  for (let i = 0; i < values.length; i += each) {
    let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let j = i; j < Math.min(values.length, i + each); j++) {
      if (values[j]! < low) low = values[j]!;
      if (values[j]! > high) high = values[j]!;
    }
    if (high < low) {
      pen = false;
      continue;
    }
    const x = across(i + (each - 1) / 2);
    line += `${pen ? 'L' : 'M'}${x} ${up(high)}`;
    if (low < high) line += `L${x} ${up(low)}`;
    if (each === 1 && (high !== 0 || low !== 0)) dots.push({ x, y: up(high) });
    pen = true;
  }
  return { line, dots, zero: up(0), min, max };
}

export interface HistogramDrawing {
  bars: { x: number; y: number; width: number; height: number; above: boolean }[];
  threshold: number;
  most: number;
}

/** Bars by a root of their counts, so that single neurons are seen beside hundreds. */
export function drawHistogram(histogram: Histogram, { left, right, top, bottom }: PlotBox): HistogramDrawing {
  const { edges, counts, threshold } = histogram;
  const last = edges[edges.length - 1]!;
  const across = (value: number): number => tenth(left + (value / last) * (right - left));
  const most = counts.reduce((a, b) => Math.max(a, b), 0);
  const bars = [...counts].map((count, i) => {
    const height = most > 0 ? tenth(Math.sqrt(count / most) * (bottom - top)) : 0;
    const x = across(edges[i]!);
    return {
      x,
      y: tenth(bottom - height),
      width: Math.max(1, across(edges[i + 1]!) - x - 1),
      height,
      above: edges[i + 1]! > threshold,
    };
  });
  return { bars, threshold: across(threshold), most };
}
