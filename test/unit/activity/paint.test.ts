import { describe, expect, it } from 'vitest';
import type { Grid } from '../../../renderer/activity/cells';
import { level } from '../../../renderer/activity/states';
import { barsOf, drawBars, tokenAt, tokenSpan } from '../../../renderer/canvas/bars';
import { blendPixels, layoutOf, paintGrid } from '../../../renderer/canvas/grid';
import { HeatPainter, type Surface } from '../../../renderer/canvas/heatPainter';
import { coloursOf, packed, scaleColour } from '../../../renderer/canvas/palette';
import { drawHistogram, drawSeries } from '../../../renderer/canvas/plot';
import { moveInGrid, panned, ticks, zoomed } from '../../../renderer/components/activity/heatMoves';

const colours = coloursOf('light', 'viridis');
const gridOf = (rows: number, columns: number, codes: number[]): Grid => ({
  rows,
  columns,
  codes: Uint8Array.from(codes),
  scale: 'value',
});

describe('painting', () => {
  it('gives each cell its pixels, with gaps where there is room', () => {
    const grid = gridOf(2, 2, [level(0), level(1), level(0.5), level(0.25)]);
    const layout = layoutOf(grid, 12, 12, { x: 0, y: 0, columns: 2, rows: 2 });
    const out = new Int32Array(144);
    paintGrid(out, layout, grid, colours.value, colours.gap);
    expect(out[0]).toBe(packed(scaleColour('viridis', 0)));
    expect(out[5]).toBe(colours.gap);
    expect(out[6]).toBe(packed(scaleColour('viridis', 1)));
    expect(out[5 * 12]).toBe(colours.gap);
    expect(out[6 * 12]).toBe(colours.value[6]![level(0.5)]);
  });

  it('shows every cell at one pixel each, also where layers are grouped', () => {
    const grid = gridOf(
      4,
      8,
      Array.from({ length: 32 }, (_, i) => 16 + i),
    );
    const layout = layoutOf(grid, 8, 4, { x: 0, y: 0, columns: 8, rows: 4 }, 2);
    expect([...layout.columns]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect([...layout.rows]).toEqual([0, 1, 2, 3]);
  });

  it('zooms and pans by the window', () => {
    const layout = layoutOf({ rows: 10, columns: 100 }, 20, 5, { x: 40, y: 2, columns: 10, rows: 5 });
    expect(layout.columns[0]).toBe(40);
    expect(layout.columns[19]).toBe(49);
    expect(layout.rows[4]).toBe(6);
  });
});

describe('blending', () => {
  it('comes to the target from any colour', () => {
    const target = Int32Array.from([0xff000000, 0xffffffff, 0xff123456, 0xff0000ff]);
    const shown = Int32Array.from([0xffffffff, 0xff000000, 0xff654321, 0xffff0000]);
    let steps = 0;
    while (!blendPixels(shown, target, 64)) expect(++steps).toBeLessThan(100);
    expect(shown).toEqual(target);
    const half = Int32Array.from([0xff000000]);
    blendPixels(half, Int32Array.from([0xffc86432]), 128);
    expect(half[0]).toBe(0xff643219 | 0);
  });

  it('lets nothing flash: ten changes a second keep less than a tenth of their contrast', () => {
    const surface = fakeSurface();
    const painter = new HeatPainter();
    painter.resize(surface, 4, 4);
    const bright = gridOf(1, 1, [level(1)]);
    const dark = gridOf(1, 1, [level(0)]);
    const seen = { x: 0, y: 0, columns: 1, rows: 1 };
    const luminance = (): number => {
      const pixel = surface.pixels()[0]!;
      return (0.2126 * (pixel & 255) + 0.7152 * ((pixel >> 8) & 255) + 0.0722 * ((pixel >> 16) & 255)) / 255;
    };
    painter.show(dark, colours, seen, 1, 0);
    painter.draw(surface, 0);
    const late: number[] = [];
    for (let ms = 16; ms < 6000; ms += 16) {
      // A new grid every 100 ms, drawn 60 times a second.
      if (Math.floor(ms / 100) !== Math.floor((ms - 16) / 100)) {
        painter.show(Math.floor(ms / 100) % 2 ? bright : dark, colours, seen, 1, ms);
      }
      painter.draw(surface, ms);
      if (ms > 3000) late.push(luminance());
    }
    expect(Math.max(...late) - Math.min(...late)).toBeLessThan(0.1);
  });

  it('shows a single step at once and exactly', () => {
    const surface = fakeSurface();
    const painter = new HeatPainter();
    painter.resize(surface, 4, 4);
    const seen = { x: 0, y: 0, columns: 1, rows: 1 };
    painter.show(gridOf(1, 1, [level(0)]), colours, seen, 1, 0);
    painter.draw(surface, 0);
    painter.show(gridOf(1, 1, [level(1)]), colours, seen, 1, 1000);
    expect(painter.draw(surface, 1000)).toBe(false);
    expect(surface.pixels()[0]).toBe(packed(scaleColour('viridis', 1)));
  });

  it('settles on the exact colours once changes stop', () => {
    const surface = fakeSurface();
    const painter = new HeatPainter();
    painter.resize(surface, 4, 4);
    const seen = { x: 0, y: 0, columns: 1, rows: 1 };
    painter.show(gridOf(1, 1, [level(0)]), colours, seen, 1, 0);
    painter.show(gridOf(1, 1, [level(1)]), colours, seen, 1, 50);
    let now = 50;
    while (painter.draw(surface, (now += 16))) expect(now).toBeLessThan(3000);
    expect(surface.pixels()[0]).toBe(packed(scaleColour('viridis', 1)));
  });
});

function fakeSurface(): Surface & { pixels(): Int32Array } {
  let last: ImageData | null = null;
  return {
    createImageData: ((width: number, height: number) => ({
      width,
      height,
      data: new Uint8ClampedArray(width * height * 4),
    })) as Surface['createImageData'],
    putImageData: (image: ImageData) => void (last = image),
    pixels: () => new Int32Array(last!.data.buffer),
  };
}

describe('the strip', () => {
  it('loses no peak where tokens share a pixel', () => {
    const values = new Float32Array(60_000).fill(1);
    values[31_234] = 9;
    const bars = barsOf(values, 1000);
    expect(bars.max).toBe(9);
    expect(bars.tokens[Math.floor((31_234 / 60_000) * 1000)]).toBe(31_234);
    expect(tokenAt(500, 60_000, 1000)).toBe(30_000);
    expect(tokenSpan(30_000, 60_000, 1000).left).toBe(500);
  });

  it('draws a stub where nothing is known', () => {
    const rects: number[][] = [];
    const context = { fillStyle: '', clearRect: () => {}, fillRect: (...rect: number[]) => void rects.push(rect) };
    drawBars(context as never, barsOf(Float32Array.from([Number.NaN, 2]), 28), 30, {
      colour: () => '#000',
      unknown: '#888',
    });
    expect(rects.filter(([, , , height]) => height === 3).length).toBeGreaterThan(0);
    expect(rects.some(([x, , , height]) => x! >= 14 && height === 30)).toBe(true);
  });
});

describe('charts', () => {
  const box = { left: 0, right: 100, top: 0, bottom: 50 };
  it('break a line where a value is unknown and keep peaks', () => {
    const { line, max } = drawSeries(Float32Array.from([1, Number.NaN, 3]), box);
    expect(line.match(/M/g)).toHaveLength(2);
    expect(max).toBe(3);
    const long = new Float32Array(10_000);
    long[7777] = 5;
    expect(drawSeries(long, box).max).toBe(5);
    expect(drawSeries(long, box).line).toContain('L77.5 0');
  });

  it('place the threshold among the bars', () => {
    const drawing = drawHistogram(
      { edges: Float64Array.from([0, 1, 2]), counts: Uint32Array.from([4, 1]), threshold: 0.5, of: 'gate' } as never,
      box,
    );
    expect(drawing.threshold).toBe(25);
    expect(drawing.bars.map(({ height }) => height)).toEqual([50, 25]);
  });
});

describe('the cursor of a map', () => {
  const size = { rows: 10, columns: 30 };
  it('moves and stops at the edges', () => {
    expect(moveInGrid('ArrowLeft', false, { row: 0, column: 0 }, size)).toEqual({ row: 0, column: 0 });
    expect(moveInGrid('ArrowDown', true, { row: 3, column: 4 }, size)).toEqual({ row: 9, column: 4 });
    expect(moveInGrid('End', false, { row: 3, column: 4 }, size)).toEqual({ row: 3, column: 29 });
    expect(moveInGrid('x', false, { row: 3, column: 4 }, size)).toBeNull();
  });

  it('takes the window along', () => {
    const seen = zoomed({ x: 0, y: 0, ...size }, size, 0.5, 15, 5)!;
    expect(seen).toEqual({ x: 7.5, y: 2.5, columns: 15, rows: 5 });
    expect(panned(seen, size, { row: 9, column: 29 })).toMatchObject({ x: 15, y: 5 });
    expect(zoomed(seen, size, 8, 3, 3)).toBeNull();
  });

  it('has labels that do not touch', () => {
    expect(ticks(0, 30, 30, 300, 15)).toEqual(Array.from({ length: 15 }, (_, i) => i * 2));
    expect(ticks(0, 150, 150, 300, 15, 5)).toEqual([0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140]);
  });
});
