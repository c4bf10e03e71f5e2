import type { Place } from '../activity/residency';
import { state } from '../activity/states';
import { stateStyle, type Theme } from './palette';

/** Of the colours and patterns that states have: these three differ in both. */
const looks: Record<Place, number> = { gpu: state.namedActive, memory: state.plainActive, disk: state.namedIdle };

/** An 8 × 8 tile of a place: its ground, and its marks as an SVG path. */
export function placeTile(theme: Theme, place: Place): { fill: string; ink: string; marks: string } {
  const { fill, ink, pattern } = stateStyle(theme, looks[place]);
  let marks = '';
  pattern.forEach((bits, y) => {
    for (let x = 0; x < 8; x++) if ((bits >> x) & 1) marks += `M${x} ${y}h1v1h-1z`;
  });
  return { fill, ink, marks };
}
