import { useLayoutEffect, useMemo, useRef } from 'react';
import { statesIn, type Grid, type PackedModel } from '../../activity/cells';
import { stateWords } from '../../activity/states';
import { packed, scaleColour, signedColour, stateStyle } from '../../canvas/palette';
import { useThemeName } from '../../lib/useThemeName';
import { useStore } from '../../store/store';
import css from './Legend.module.css';

/** What the states that occur look like, and, where there is a scale, what its ends mean. */
export function Legend({
  grid,
  from,
  to,
  note,
}: {
  grid: Grid | PackedModel;
  from?: string;
  to?: string;
  note?: string;
}) {
  const states = useMemo(() => statesIn(grid), [grid]);
  return (
    <ul className={css.legend} aria-label="Legend">
      {from !== undefined && (
        <li>
          <span>{from}</span>
          <Scale signed={grid.scale === 'signed'} />
          <span>{to}</span>
          {note !== undefined && <span className={css.note}>({note})</span>}
        </li>
      )}
      {states.map((code) => (
        <li key={code}>
          <Swatch code={code} />
          {stateWords[code]}
          {code === 6 && ' (audit tokens only)'}
        </li>
      ))}
    </ul>
  );
}

function Swatch({ code }: { code: number }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const theme = useThemeName();
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    const image = context.createImageData(24, 16);
    const pixels = new Int32Array(image.data.buffer);
    const { fill, ink, pattern } = stateStyle(theme, code);
    const [paper, mark] = [packed(fill), packed(ink)];
    for (let i = 0; i < pixels.length; i++) {
      const [x, y] = [i % 24, Math.floor(i / 24)];
      pixels[i] = (pattern[y & 7]! >> (x & 7)) & 1 ? mark : paper;
    }
    context.putImageData(image, 0, 0);
  }, [theme, code]);
  return <canvas ref={canvas} className={css.swatch} width={24} height={16} aria-hidden />;
}

function Scale({ signed }: { signed: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const scale = useStore((s) => s.look.scale);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context) return;
    for (let x = 0; x < 120; x++) {
      context.fillStyle = signed ? signedColour((x / 119) * 2 - 1) : scaleColour(scale, x / 119);
      context.fillRect(x, 0, 1, 12);
    }
  }, [signed, scale]);
  return <canvas ref={canvas} className={css.scale} width={120} height={12} aria-hidden />;
}
