import type { Grid } from '../activity/cells';
import { blendPixels, layoutOf, paintGrid, type Layout, type Window } from './grid';
import type { Colours } from './palette';

/** What a painter draws on; an OffscreenCanvas' context fits, too. */
export type Surface = Pick<CanvasRenderingContext2D, 'putImageData' | 'createImageData'>;

/** Changes closer together than this are blended, so that nothing flashes more than three times a second. */
const calmMs = 340;
/** Time constant of the blending: what alternates five times a second keeps a twelfth of its contrast. */
const blendMs = 400;

/**
 * Paints a grid and keeps what is shown, so that fast changes fade into one another. Changes one by one, as of a person stepping through
 * tokens, are shown at once and exactly.
 */
export class HeatPainter {
  private image: ImageData | null = null;
  private shown = new Int32Array(0);
  private target = new Int32Array(0);
  private layout: Layout | null = null;
  private layoutKey = '';
  private changedAt = Number.NEGATIVE_INFINITY;
  private drawnAt = 0;
  private blending = false;
  /** Nothing fades: for pictures, and where the person asked for less motion (the caller then slows the changes down). */
  still = false;

  /** Pixels of the surface. */
  resize(surface: Surface, width: number, height: number): void {
    if (this.image?.width === width && this.image.height === height) return;
    this.image = surface.createImageData(width, height);
    this.shown = new Int32Array(this.image.data.buffer);
    this.target = new Int32Array(width * height);
    this.layoutKey = '';
    this.changedAt = Number.NEGATIVE_INFINITY;
  }

  /** New content. `now`: ms of a steady clock. `moved`: the person pans or zooms, which is no flash. */
  show(grid: Grid, colours: Colours, seen: Window, group: number, now: number, moved = false): void {
    const { image } = this;
    if (!image) return;
    const key = [
      grid.rows,
      grid.columns,
      image.width,
      image.height,
      seen.x,
      seen.y,
      seen.columns,
      seen.rows,
      group,
    ].join();
    if (key !== this.layoutKey || !this.layout) {
      this.layout = layoutOf(grid, image.width, image.height, seen, group);
      this.layoutKey = key;
      moved = true;
    }
    paintGrid(this.target, this.layout, grid, colours[grid.scale], colours.gap);
    if (this.still || moved) {
      this.blending = false;
      if (!moved) this.changedAt = now;
      this.shown.set(this.target);
      return;
    }
    this.blending = this.blending || now - this.changedAt < calmMs;
    this.changedAt = now;
    this.drawnAt = now;
    if (!this.blending) this.shown.set(this.target);
  }

  /** Puts what is shown on the surface; true while it still fades. */
  draw(surface: Surface, now: number): boolean {
    if (!this.image) return false;
    if (this.blending) {
      const share = Math.min(256, Math.max(1, Math.round(256 * (1 - Math.exp(-(now - this.drawnAt) / blendMs)))));
      this.drawnAt = now;
      const settled = blendPixels(this.shown, this.target, now - this.changedAt > 4 * blendMs ? 256 : share);
      this.blending = !settled;
    }
    surface.putImageData(this.image, 0, 0);
    return this.blending;
  }
}
