import { scaleColour, signedColour, stateStyle, type ScaleName, type Theme } from '../canvas/palette';
import type { Grid } from './cells';
import { firstLevel, levels, stateCount, stateWords } from './states';

export interface Picture {
  title: string;
  /** Lines under the picture: what was made how. */
  caption: string[];
  rowsTitle: string;
  columnsTitle: string;
  grid: Grid;
  theme: Theme;
  scale: ScaleName;
}

/** More than this many cells belong in a PNG. */
export const maxSvgCells = 250_000;

const escape = (text: string): string =>
  text
    .replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '')
    .replace(/&/g, '&amp;')
    .replace(/</g, '&lt;')
    .replace(/>/g, '&gt;')
    .replace(/"/g, '&quot;');

const colourOf = ({ grid, scale }: Picture, code: number): string => {
  const share = (code - firstLevel) / (levels - 1);
  return grid.scale === 'signed' ? signedColour(share * 2 - 1) : scaleColour(scale, share);
};

/** Cells of one colour side by side become one rectangle. */
export function writeSvg(picture: Picture): string {
  const { title, caption, grid, theme, rowsTitle, columnsTitle } = picture;
  const size = Math.max(1, Math.min(16, Math.floor(960 / grid.columns)));
  const [left, top] = [64, 44];
  const [width, height] = [grid.columns * size, grid.rows * size];
  const text = theme === 'light' ? '#1b1c1a' : '#ececea';
  const seen = new Set<number>();
  let cells = '';
  for (let row = 0; row < grid.rows; row++) {
    for (let column = 0; column < grid.columns;) {
      const code = grid.codes[row * grid.columns + column]!;
      let end = column + 1;
      while (end < grid.columns && grid.codes[row * grid.columns + end] === code) end++;
      seen.add(code);
      const fill = code < stateCount ? `url(#s${code})` : colourOf(picture, code);
      if (code !== 0) {
        cells += `<rect x="${left + column * size}" y="${top + row * size}" width="${(end - column) * size}" height="${size}" fill="${fill}"/>`;
      }
      column = end;
    }
  }
  const states = [...seen].filter((code) => code > 0 && code < stateCount).sort((a, b) => a - b);
  const patterns = states.map((code) => {
    const { fill, ink, pattern } = stateStyle(theme, code);
    let marks = '';
    pattern.forEach((bits, y) => {
      for (let x = 0; x < 8; x++) if ((bits >> x) & 1) marks += `M${x} ${y}h1v1h-1z`;
    });
    return `<pattern id="s${code}" width="8" height="8" patternUnits="userSpaceOnUse"><rect width="8" height="8" fill="${fill}"/><path d="${marks}" fill="${ink}"/></pattern>`;
  });
  const below = top + height + 20;
  const legend = states.map(
    (code, i) =>
      `<rect x="${left}" y="${below + 12 + i * 18}" width="14" height="14" fill="url(#s${code})" stroke="${text}" stroke-opacity=".3"/>` +
      `<text x="${left + 22}" y="${below + 23 + i * 18}">${escape(stateWords[code]!)}</text>`,
  );
  const captionTop = below + 36 + states.length * 18;
  const lines = caption.map(
    (line, i) => `<text x="${left}" y="${captionTop + i * 16}" opacity=".75">${escape(line)}</text>`,
  );
  const total = captionTop + caption.length * 16;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + Math.max(width, 520) + 20} ${total}" font-family="system-ui, sans-serif" font-size="12" fill="${text}">`,
    `<title>${escape(title)}</title><defs>${patterns.join('')}</defs>`,
    `<rect width="100%" height="100%" fill="${theme === 'light' ? '#fdfdfc' : '#17181a'}"/>`,
    `<text x="${left}" y="24" font-size="14" font-weight="600">${escape(title)}</text>`,
    `<text transform="translate(20 ${top + height / 2}) rotate(-90)" text-anchor="middle">${escape(rowsTitle)}</text>`,
    `<text x="${left - 6}" y="${top + Math.min(12, size)}" text-anchor="end">0</text>`,
    `<text x="${left - 6}" y="${top + height}" text-anchor="end">${grid.rows - 1}</text>`,
    `<text x="${left + width / 2}" y="${top + height + 16}" text-anchor="middle">${escape(columnsTitle)}</text>`,
    `<g shape-rendering="crispEdges">${cells}</g>`,
    ...legend,
    ...lines,
    '</svg>',
  ].join('\n');
}
