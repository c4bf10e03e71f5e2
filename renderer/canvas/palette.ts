import { interpolateCividis, interpolatePuOr, interpolateViridis } from 'd3-scale-chromatic';
import { firstLevel, levels, state, stateCount } from '../activity/states';

export type Theme = 'light' | 'dark';
export type ScaleName = 'viridis' | 'cividis';

/** Two colours and a pattern of 8 × 8 pixels, whose set bits have the second one. A state differs from the others in both. */
interface StateStyle {
  fill: string;
  ink: string;
  pattern: readonly number[];
}

const plain = [0, 0, 0, 0, 0, 0, 0, 0];
const diagonal = [0x11, 0x22, 0x44, 0x88, 0x11, 0x22, 0x44, 0x88];
const dots = [0x00, 0x22, 0x00, 0x00, 0x00, 0x22, 0x00, 0x00];
const lines = [0x00, 0x00, 0x00, 0xff, 0x00, 0x00, 0x00, 0xff];
const cross = [0x81, 0x42, 0x24, 0x18, 0x18, 0x24, 0x42, 0x81];
const sparse = [0x00, 0x00, 0x00, 0x10, 0x00, 0x00, 0x00, 0x01];

const styles: Record<Theme, Record<number, StateStyle>> = {
  light: {
    [state.none]: { fill: '#fdfdfc', ink: '#fdfdfc', pattern: plain },
    [state.skipped]: { fill: '#f1f1ed', ink: '#c6c7bf', pattern: diagonal },
    [state.namedIdle]: { fill: '#f3ddb0', ink: '#c89a3c', pattern: dots },
    [state.namedActive]: { fill: '#0b6b60', ink: '#0b6b60', pattern: plain },
    [state.plainIdle]: { fill: '#dde3ec', ink: '#b9c4d6', pattern: lines },
    [state.plainActive]: { fill: '#3a68a8', ink: '#6f95c9', pattern: lines },
    [state.missed]: { fill: '#c2304a', ink: '#ffffff', pattern: cross },
    [state.shut]: { fill: '#ebe9f1', ink: '#cfcbdd', pattern: sparse },
  },
  dark: {
    [state.none]: { fill: '#17181a', ink: '#17181a', pattern: plain },
    [state.skipped]: { fill: '#1f2124', ink: '#3d4146', pattern: diagonal },
    [state.namedIdle]: { fill: '#4d3d1c', ink: '#b58a35', pattern: dots },
    [state.namedActive]: { fill: '#54c6b5', ink: '#54c6b5', pattern: plain },
    [state.plainIdle]: { fill: '#262f3d', ink: '#3b4a61', pattern: lines },
    [state.plainActive]: { fill: '#7ba7e6', ink: '#4a74b3', pattern: lines },
    [state.missed]: { fill: '#ff6b7f', ink: '#3a0a12', pattern: cross },
    [state.shut]: { fill: '#24232b', ink: '#3c3a49', pattern: sparse },
  },
};

/** '#rgb…' or 'rgb(r, g, b)' to the 32 bits of an ImageData pixel on a little-endian machine; signed, which is faster. */
export function packed(colour: string): number {
  const rgb = /^rgb\((\d+), (\d+), (\d+)\)$/.exec(colour);
  const [r, g, b] = rgb
    ? [Number(rgb[1]), Number(rgb[2]), Number(rgb[3])]
    : [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
  return (255 << 24) | (b! << 16) | (g! << 8) | r!;
}

/** By row of the pattern: [8][8 columns × 256 codes] pixels. */
export type Palette = readonly Int32Array[];

export interface Colours {
  value: Palette;
  signed: Palette;
  /** Between cells. */
  gap: number;
}

/** Colour of 0 … 1 on a scale, as CSS; the scales of light and dark are the same. */
export const scaleColour = (name: ScaleName, share: number): string =>
  packedToCss(packed(name === 'viridis' ? interpolateViridis(share) : interpolateCividis(share)));

/** Violet below zero, orange above; told apart also with any colour blindness. */
export const signedColour = (share: number): string => packedToCss(packed(interpolatePuOr(1 - (share + 1) / 2)));

const packedToCss = (pixel: number): string =>
  `#${[pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255].map((part) => part.toString(16).padStart(2, '0')).join('')}`;

export const stateStyle = (theme: Theme, code: number): StateStyle => styles[theme][code]!;

function paletteOf(theme: Theme, colourOf: (share: number) => string): Palette {
  const rows = Array.from({ length: 8 }, () => new Int32Array(8 * 256));
  const fill = (code: number, style: StateStyle): void => {
    const [paper, ink] = [packed(style.fill), packed(style.ink)];
    for (let y = 0; y < 8; y++) {
      for (let x = 0; x < 8; x++) rows[y]![(x << 8) | code] = (style.pattern[y]! >> x) & 1 ? ink : paper;
    }
  };
  for (let code = 0; code < stateCount; code++) fill(code, stateStyle(theme, code));
  for (let i = 0; i < levels; i++) {
    const colour = colourOf(i / (levels - 1));
    fill(firstLevel + i, { fill: colour, ink: colour, pattern: plain });
  }
  return rows;
}

const made = new Map<string, Colours>();

export function coloursOf(theme: Theme, scale: ScaleName): Colours {
  const key = `${theme} ${scale}`;
  let colours = made.get(key);
  if (!colours) {
    colours = {
      value: paletteOf(theme, (share) => scaleColour(scale, share)),
      signed: paletteOf(theme, (share) => signedColour(share * 2 - 1)),
      gap: packed(stateStyle(theme, state.none).fill),
    };
    made.set(key, colours);
  }
  return colours;
}
