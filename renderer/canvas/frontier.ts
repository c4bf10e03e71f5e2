/** Speed and what it costs, at one place of the slider. */
export interface Spot {
  /** Tokens a second. */
  speed: number;
  /** How much perplexity rises against dense; 0.01 = 1 %. */
  rise: number;
}

export interface NamedSpot extends Spot {
  name: string;
}

export interface Label {
  x: number;
  y: number; // of the text's baseline
  text: string;
  anchor: 'start' | 'middle' | 'end';
}

/** From spots to pixels; y grows downwards. */
export interface FrontierScale {
  width: number;
  height: number;
  left: number;
  right: number;
  top: number;
  bottom: number;
  slowest: number;
  fastest: number;
  /** Roots of the least and the greatest rise: the stops crowd near zero, and a root spreads them. */
  lowest: number;
  highest: number;
}

export interface FrontierDrawing {
  /** SVG path data. */
  grid: string;
  axes: string;
  curve: string;
  dots: { x: number; y: number; name: string }[];
  names: Label[];
  speeds: Label[];
  rises: Label[];
  titles: Label[];
}

const margin = { left: 40, right: 10, top: 20, bottom: 30 };
/** A drawn letter's width and a line's height, for labels of 10.5 px. */
const letter = 5.7;
const line = 11;
/** Where a person may look for a number: the limits of the stops. */
const riseTicks = [0, 0.005, 0.01, 0.03, 0.1, 0.3];

const root = (rise: number): number => Math.sign(rise) * Math.sqrt(Math.abs(rise));

export function frontierScale(spots: readonly Spot[], width: number, height: number): FrontierScale {
  const speeds = spots.map(({ speed }) => speed);
  const rises = spots.map(({ rise }) => rise);
  const costliest = Math.max(...rises);
  const [slow, fast] = [Math.min(...speeds), Math.max(...speeds)];
  const pad = Math.max((fast - slow) * 0.08, fast * 0.02);
  return {
    width,
    height,
    left: margin.left,
    right: width - margin.right,
    top: margin.top,
    bottom: height - margin.bottom,
    slowest: Math.max(0, slow - pad),
    fastest: fast + pad,
    lowest: root(Math.min(0, ...rises)),
    // Up to a number that has a label; below one per cent there is nothing to tell apart.
    highest: root(riseTicks.find((tick) => tick >= Math.max(costliest, 0.01)) ?? costliest),
  };
}

export function project(scale: FrontierScale, { speed, rise }: Spot): { x: number; y: number } {
  const { left, right, top, bottom, slowest, fastest, lowest, highest } = scale;
  const across = (speed - slowest) / (fastest - slowest);
  const up = (root(rise) - lowest) / (highest - lowest);
  return { x: tenth(left + across * (right - left)), y: tenth(bottom - up * (bottom - top)) };
}

/** `stops`: what was measured. `curve`: the way between them, slowest first. */
export function drawFrontier(
  scale: FrontierScale,
  stops: readonly NamedSpot[],
  curve: readonly Spot[],
): FrontierDrawing {
  const { left, right, top, bottom, height } = scale;
  const dots = stops.map((stop) => ({ ...project(scale, stop), name: stop.name }));
  const rises = spread(
    riseTicks
      .map((rise) => ({ rise, y: project(scale, { speed: scale.slowest, rise }).y }))
      .filter(({ y }) => y >= top - 1),
  );
  return {
    grid: rises.map(({ y }) => `M${left} ${y}H${right}`).join(''),
    axes: `M${left} ${top}V${bottom}H${right}`,
    curve: curve.map((spot, i) => path(i === 0 ? 'M' : 'L', project(scale, spot))).join(''),
    dots,
    names: placeNames(
      scale,
      dots,
      curve.map((spot) => project(scale, spot)),
    ),
    speeds: niceSteps(scale.slowest, scale.fastest).map((speed) => ({
      x: project(scale, { speed, rise: 0 }).x,
      y: bottom + line + 2,
      text: String(speed),
      anchor: 'middle',
    })),
    rises: rises.map(({ rise, y }) => ({ x: left - 5, y: y + 3.5, text: riseText(rise), anchor: 'end' })),
    titles: [
      { x: 0, y: 10, text: 'perplexity', anchor: 'start' },
      { x: right, y: height - 4, text: 'tokens a second', anchor: 'end' },
    ],
  };
}

const tenth = (value: number): number => Math.round(value * 10) / 10;
const path = (command: string, { x, y }: { x: number; y: number }): string => `${command}${x} ${y}`;
const riseText = (rise: number): string => (rise === 0 ? '0 %' : `+${Number((rise * 100).toFixed(1))} %`);

/** Leaves out ticks whose labels would touch, the smaller rise of two; zero stays. */
function spread(ticks: { rise: number; y: number }[]): { rise: number; y: number }[] {
  const zero = ticks.find(({ rise }) => rise === 0)!.y;
  let above = Number.NEGATIVE_INFINITY;
  return [...ticks].reverse().filter(({ rise, y }) => {
    if (rise !== 0 && (y - above < line || zero - y < line)) return false;
    above = y;
    return true;
  });
}

/** Two to five round numbers in the range. */
function niceSteps(from: number, to: number): number[] {
  const rough = (to - from) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? 10 * power;
  const steps: number[] = [];
  for (let i = Math.ceil(from / step); i * step <= to; i++) steps.push(Number((i * step).toPrecision(6)));
  return steps;
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

const apart = (a: Box, b: Box): boolean =>
  a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;

const within = (box: Box, { x, y }: { x: number; y: number }): boolean =>
  x > box.left && x < box.right && y > box.top && y < box.bottom;

/**
 * Each stop's name above, below or beside its dot: off the curve if that can be, never over a dot or another name. A name without
 * room is left to the table.
 */
function placeNames(
  scale: FrontierScale,
  dots: readonly { x: number; y: number; name: string }[],
  curve: readonly { x: number; y: number }[],
): Label[] {
  const taken: Box[] = dots.map(({ x, y }) => ({ left: x - 4, right: x + 4, top: y - 4, bottom: y + 4 }));
  const labels: Label[] = [];
  for (const { x, y, name } of dots) {
    const candidates: Label[] = [
      { x, y: y - 9, text: name, anchor: 'middle' },
      { x: x - 8, y: y - 4, text: name, anchor: 'end' },
      { x: x + 8, y: y + 3.5, text: name, anchor: 'start' },
      { x: x + 8, y: y + 10, text: name, anchor: 'start' },
      { x: x - 4, y: y - 9, text: name, anchor: 'end' },
      { x, y: y + 16, text: name, anchor: 'middle' },
    ];
    const fitting = candidates.filter((label) => {
      const box = boxOf(label);
      const { left, width, bottom } = scale;
      const inside = box.left >= left && box.right <= width && box.top >= line && box.bottom <= bottom;
      return inside && taken.every((other) => apart(box, other));
    });
    const label = fitting.find((one) => !curve.some((point) => within(boxOf(one), point))) ?? fitting[0];
    if (!label) continue;
    taken.push(boxOf(label));
    labels.push(label);
  }
  return labels;
}

function boxOf({ x, y, text, anchor }: Label): Box {
  const width = text.length * letter;
  const left = anchor === 'start' ? x : anchor === 'end' ? x - width : x - width / 2;
  return { left, right: left + width, top: y - line + 2, bottom: y + 2 };
}
