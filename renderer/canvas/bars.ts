/** A strip of tokens as bars: how high each pixel column is, and from which token. Pure: no canvas. */
export interface Bars {
  /** Height of each column, 0 … 1; NaN = nothing known. */
  heights: Float32Array;
  /** The token shown in a column: of several the one with the highest bar, so that nothing is lost. */
  tokens: Int32Array;
  max: number;
  /** Pixels a token takes; below 1, several share a column. */
  pitch: number;
}

/** Widest a token may be. */
const widest = 14;

export function barsOf(values: Float32Array, width: number, from = 0): Bars {
  const count = values.length;
  const pitch = count === 0 ? widest : Math.min(widest, width / count);
  const heights = new Float32Array(width).fill(Number.NaN);
  const tokens = new Int32Array(width).fill(-1);
  let max = from;
  for (let i = 0; i < count; i++) if (values[i]! > max) max = values[i]!;
  for (let x = 0; x < width; x++) {
    const first = Math.floor(x / pitch);
    if (first >= count) break;
    const last = Math.min(count - 1, Math.max(first, Math.ceil((x + 1) / pitch) - 1));
    let best = first;
    for (let i = first; i <= last; i++) {
      if (Number.isNaN(values[best]!) || values[i]! > values[best]!) best = i;
    }
    tokens[x] = best;
    heights[x] = max > 0 ? values[best]! / max : values[best]!;
  }
  return { heights, tokens, max, pitch };
}

/** The token under a pixel column; null beyond the last. */
export function tokenAt(x: number, count: number, width: number): number | null {
  if (count === 0) return null;
  const pitch = Math.min(widest, width / count);
  const token = Math.floor(x / pitch);
  return token >= 0 && token < count ? token : null;
}

/** Left edge and width of a token, in pixels. */
export function tokenSpan(token: number, count: number, width: number): { left: number; width: number } {
  const pitch = Math.min(widest, width / Math.max(1, count));
  return { left: token * pitch, width: Math.max(1, pitch) };
}

export interface BarColours {
  /** Of 0 … 1. */
  colour: (share: number) => string;
  unknown: string;
}

/** Draws the bars from the bottom up, a stub where nothing is known. */
export function drawBars(
  context: Pick<CanvasRenderingContext2D, 'clearRect' | 'fillRect' | 'fillStyle'>,
  bars: Bars,
  height: number,
  { colour, unknown }: BarColours,
): void {
  context.clearRect(0, 0, bars.heights.length, height);
  for (let x = 0; x < bars.heights.length; x++) {
    if (bars.tokens[x]! < 0) break;
    // A pixel between tokens that are wide enough.
    if (bars.pitch >= 4 && Math.floor((x + 1) / bars.pitch) !== Math.floor(x / bars.pitch)) continue;
    const share = bars.heights[x]!;
    if (Number.isNaN(share)) {
      context.fillStyle = unknown;
      if (x % 3 === 0) context.fillRect(x, height - 3, 1, 3);
      continue;
    }
    const tall = Math.max(2, Math.round(share * height));
    context.fillStyle = colour(share);
    context.fillRect(x, height - tall, 1, tall);
  }
}
