import { describe, expect, it } from 'vitest';
import { drawFrontier, frontierScale, project, type NamedSpot } from '../../../renderer/canvas/frontier';

const measured: NamedSpot[] = [
  { name: 'dense', speed: 300, rise: 0 },
  { name: 'exact', speed: 410, rise: 0 },
  { name: 'careful', speed: 440, rise: 0.004 },
  { name: 'balanced', speed: 470, rise: 0.009 },
  { name: 'fast', speed: 500, rise: 0.028 },
  { name: 'fastest', speed: 560, rise: 0.096 },
];
const draw = (stops: NamedSpot[], width = 268, height = 156) => {
  const scale = frontierScale(stops, width, height);
  return { scale, drawing: drawFrontier(scale, stops, stops) };
};

describe('the frontier’s drawing', () => {
  it('has faster to the right, costlier higher, and everything inside its frame', () => {
    const { scale, drawing } = draw(measured);
    for (const [i, dot] of drawing.dots.entries()) {
      const before = drawing.dots[i - 1];
      if (before) {
        expect(dot.x).toBeGreaterThan(before.x);
        expect(dot.y).toBeLessThanOrEqual(before.y);
      }
      expect(dot.x).toBeGreaterThan(scale.left);
      expect(dot.x).toBeLessThan(scale.right);
      expect(dot.y).toBeGreaterThanOrEqual(scale.top);
      expect(dot.y).toBeLessThanOrEqual(scale.bottom);
    }
    expect(drawing.curve).toMatch(/^M[\d. ]+(L[\d. ]+){5}$/);
  });

  it('spreads small rises and names its units', () => {
    const { scale, drawing } = draw(measured);
    const y = (rise: number): number => project(scale, { speed: 400, rise }).y;
    expect(y(0) - y(0.01)).toBeGreaterThan(30);
    expect(y(0.01) - y(0.1)).toBeGreaterThan(60);
    expect(drawing.rises.map(({ text }) => text)).toEqual(['+10 %', '+3 %', '+1 %', '0 %']);
    expect(drawing.speeds.map(({ text }) => text)).toEqual(['300', '400', '500']);
    expect(drawing.titles.map(({ text }) => text)).toEqual(['perplexity', 'tokens a second']);
  });

  it('writes names over neither dots nor each other, within the picture', () => {
    for (const width of [220, 268, 400]) {
      const { drawing } = draw(measured, width);
      const boxes = drawing.names.map(({ x, y, text, anchor }) => {
        const size = text.length * 5.7;
        const left = anchor === 'start' ? x : anchor === 'end' ? x - size : x - size / 2;
        return { left, right: left + size, top: y - 9, bottom: y + 2 };
      });
      for (const [i, box] of boxes.entries()) {
        expect(box.left).toBeGreaterThanOrEqual(0);
        expect(box.right).toBeLessThanOrEqual(width);
        for (const other of boxes.slice(i + 1)) {
          const overlap =
            box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom;
          expect(overlap, `${width}: ${drawing.names.map(({ text }) => text).join(' ')}`).toBe(false);
        }
        for (const dot of drawing.dots) {
          const covered = dot.x > box.left && dot.x < box.right && dot.y > box.top && dot.y < box.bottom;
          expect(covered).toBe(false);
        }
      }
      expect(drawing.names.length).toBeGreaterThanOrEqual(4);
    }
  });

  it('draws one stop, equal stops and a gain as well', () => {
    const cases: NamedSpot[][] = [
      [{ name: 'dense', speed: 300, rise: 0 }],
      [
        { name: 'dense', speed: 300, rise: 0 },
        { name: 'exact', speed: 300, rise: 0 },
      ],
      [
        { name: 'dense', speed: 0.8, rise: 0 },
        { name: 'careful', speed: 2.4, rise: -0.002 },
      ],
    ];
    for (const stops of cases) {
      const { scale, drawing } = draw(stops);
      expect(JSON.stringify(drawing)).not.toMatch(/null|NaN|Infinity/);
      for (const { x, y } of drawing.dots) {
        expect(x).toBeGreaterThanOrEqual(scale.left);
        expect(x).toBeLessThanOrEqual(scale.right);
        expect(y).toBeLessThanOrEqual(scale.bottom);
      }
      expect(drawing.speeds.length).toBeGreaterThanOrEqual(1);
    }
  });
});
