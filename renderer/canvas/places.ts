import type { Place } from '../activity/residency';
import type { Theme } from './palette';

/** An 8 × 8 tile: its ground, and its marks as an SVG path in another colour. */
interface Tile {
  fill: string;
  ink: string;
  marks: string;
}

const plain = '';
const lines = 'M0 3h8v1h-8zM0 7h8v1h-8z';
const dots = 'M1 1h2v2h-2zM5 5h2v2h-2z';

/** Told apart by hue (also with any colour blindness) and by pattern; each reaches 3:1 on the page. */
const tiles: Record<Theme, Record<Place, Tile>> = {
  light: {
    gpu: { fill: '#0b6b60', ink: '#0b6b60', marks: plain },
    memory: { fill: '#3a68a8', ink: '#8fb0dd', marks: lines },
    disk: { fill: '#b35900', ink: '#ffd7a6', marks: dots },
  },
  dark: {
    gpu: { fill: '#54c6b5', ink: '#54c6b5', marks: plain },
    memory: { fill: '#7ba7e6', ink: '#34588f', marks: lines },
    disk: { fill: '#e8a33d', ink: '#6b4200', marks: dots },
  },
};

export const placeTile = (theme: Theme, place: Place): Tile => tiles[theme][place];
