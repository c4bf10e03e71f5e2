import { unpackModel, type Grid, type PackedModel } from '../activity/cells';
import type { Window } from './grid';
import { HeatPainter, type Surface } from './heatPainter';
import { coloursOf, type ScaleName, type Theme } from './palette';

/** What a map is to show; it crosses to the worker as it is. */
export interface Showing {
  grid: Grid | PackedModel;
  /** Pixels of the canvas. */
  width: number;
  height: number;
  theme: Theme;
  scale: ScaleName;
  seen: Window;
  group: number;
  /** The window has moved: no flash to soften. */
  moved: boolean;
  /** The person asked for less motion. */
  still: boolean;
  /** Least ms between two drawings while colours fade; 0: every frame. A reply that is written needs the processor more. */
  paceMs: number;
}

export type ToWorker =
  | { type: 'canvas'; id: number; canvas: OffscreenCanvas }
  | { type: 'show'; id: number; showing: Showing }
  | { type: 'drop'; id: number };

/** What a worker answers after each frame that it has drawn. */
export interface FromWorker {
  id: number;
  /** Frames so far. */
  drawn: number;
}

interface Drawable {
  width: number;
  height: number;
}

/** One canvas and what is drawn on it, frame after frame until it has settled. The same in the page and in the worker. */
export class HeatTurn {
  private readonly painter = new HeatPainter();
  private frame = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private drawn = 0;
  private unpacked: Grid | null = null;

  constructor(
    private readonly canvas: Drawable,
    private readonly surface: Surface,
    private readonly frames: Pick<typeof globalThis, 'requestAnimationFrame' | 'cancelAnimationFrame'>,
    private readonly onDrawn: (drawn: number) => void,
  ) {}

  show({ grid, width, height, theme, scale, seen, group, moved, still, paceMs }: Showing): void {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const { painter, surface } = this;
    painter.still = still;
    painter.resize(surface, width, height);
    const cells = 'bits' in grid ? (this.unpacked = unpackModel(grid, this.unpacked?.codes)) : grid;
    painter.show(cells, coloursOf(theme, scale), seen, group, performance.now(), moved);
    this.stop();
    const draw = (): void => {
      const fading = painter.draw(surface, performance.now());
      if (fading && paceMs > 0) this.timer = setTimeout(draw, paceMs);
      else if (fading) this.frame = this.frames.requestAnimationFrame(draw);
      this.onDrawn(++this.drawn);
    };
    this.frame = this.frames.requestAnimationFrame(draw);
  }

  stop(): void {
    this.frames.cancelAnimationFrame(this.frame);
    clearTimeout(this.timer);
  }
}
