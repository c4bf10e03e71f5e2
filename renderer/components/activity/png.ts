import { statesIn } from '../../activity/cells';
import { stateWords } from '../../activity/states';
import type { Picture } from '../../activity/svg';
import { layoutOf, paintGrid } from '../../canvas/grid';
import { coloursOf, packed, stateStyle } from '../../canvas/palette';

/** Pixels of the picture for one of the screen. */
const scale = 2;
const margin = { left: 70, top: 44, right: 24 };

/** Draws a picture afresh, at twice the size, with its labels and how it was made. */
export async function writePng(picture: Picture): Promise<Uint8Array> {
  const { grid, theme, title, caption, rowsTitle, columnsTitle } = picture;
  const cell = Math.max(1, Math.min(14, Math.floor(1000 / grid.columns)));
  const [width, height] = [grid.columns * cell, grid.rows * cell];
  const states = statesIn(grid);
  const total = margin.top + height + 34 + states.length * 20 + caption.length * 17 + 12;
  const canvas = document.createElement('canvas');
  canvas.width = (margin.left + Math.max(width, 620) + margin.right) * scale;
  canvas.height = total * scale;
  const context = canvas.getContext('2d', { alpha: false });
  if (!context) throw new Error('There is no canvas to draw on.');
  const ink = theme === 'light' ? '#1b1c1a' : '#ececea';
  context.fillStyle = theme === 'light' ? '#fdfdfc' : '#17181a';
  context.fillRect(0, 0, canvas.width, canvas.height);

  const image = context.createImageData(width * scale, height * scale);
  const colours = coloursOf(theme, picture.scale);
  const seen = { x: 0, y: 0, columns: grid.columns, rows: grid.rows };
  const layout = layoutOf(grid, image.width, image.height, seen);
  paintGrid(new Int32Array(image.data.buffer), layout, grid, colours[grid.scale], colours.gap);
  context.putImageData(image, margin.left * scale, margin.top * scale);

  let y = margin.top + height + 34;
  for (const code of states) {
    const swatch = context.createImageData(24 * scale, 14 * scale);
    const pixels = new Int32Array(swatch.data.buffer);
    const { fill, ink: mark, pattern } = stateStyle(theme, code);
    const [paper, line] = [packed(fill), packed(mark)];
    for (let i = 0; i < pixels.length; i++) {
      const [column, row] = [i % swatch.width, Math.floor(i / swatch.width)];
      pixels[i] = (pattern[row & 7]! >> (column & 7)) & 1 ? line : paper;
    }
    context.putImageData(swatch, margin.left * scale, y * scale);
    y += 20;
  }

  context.scale(scale, scale);
  context.fillStyle = ink;
  const write = (
    text: string,
    x: number,
    at: number,
    font = '12px system-ui, sans-serif',
    align: CanvasTextAlign = 'left',
  ) => {
    context.font = font;
    context.textAlign = align;
    context.fillText(text, x, at);
  };
  write(title, margin.left, 26, '600 14px system-ui, sans-serif');
  write('0', margin.left - 6, margin.top + 10, undefined, 'right');
  write(String(grid.rows - 1), margin.left - 6, margin.top + height, undefined, 'right');
  write(columnsTitle, margin.left + width / 2, margin.top + height + 16, undefined, 'center');
  states.forEach((code, i) => write(stateWords[code]!, margin.left + 32, margin.top + height + 45 + i * 20));
  caption.forEach((line, i) => write(line, margin.left, y + 14 + i * 17));
  context.save();
  context.translate(22, margin.top + height / 2);
  context.rotate(-Math.PI / 2);
  write(rowsTitle, 0, 0, undefined, 'center');
  context.restore();

  const blob = await new Promise<Blob | null>((resolve) => canvas.toBlob(resolve, 'image/png'));
  if (!blob) throw new Error('The picture could not be written.');
  return new Uint8Array(await blob.arrayBuffer());
}
