import { useMemo } from 'react';
import { figuresAt, placeName } from '../../electron/contract/place';
import type { FrontierPoint, SparsityState } from '../../electron/contract/sparsity';
import { drawFrontier, frontierScale, project } from '../canvas/frontier';
import type { Spot } from '../canvas/frontier';
import { formatBytes, formatRate } from '../lib/format';
import { formatKl, formatRise, formatShare, formatSpeedup } from '../lib/sparsityWords';
import css from './FrontierChart.module.css';

const width = 268;
const height = 156;

const spotOf = ({ tokensPerSecond, perplexityRatio }: Omit<FrontierPoint, 'stop'>): Spot => ({
  speed: tokensPerSecond,
  rise: perplexityRatio - 1,
});

/** What each stop was measured to give: the curve for the eye, a table for screen readers. */
export function FrontierChart({ position, state }: { position: number; state: SparsityState }) {
  const { stops, frontier, modelId } = state;
  const { scale, drawing } = useMemo(() => {
    const shown = frontier.filter(({ stop }) => stops.includes(stop));
    const curve = Array.from({ length: 101 }, (_, i) => figuresAt(i / 100, stops, shown))
      .flatMap((found) => (found ? [spotOf(found.figures)] : []))
      .filter((spot, i, all) => spot.speed !== all[i - 1]?.speed || spot.rise !== all[i - 1]?.rise);
    const named = shown.map((point) => ({ ...spotOf(point), name: point.stop }));
    const scale = frontierScale([...named, ...curve], width, height);
    return { scale, drawing: drawFrontier(scale, named, curve) };
  }, [stops, frontier]);
  const found = figuresAt(position, stops, frontier);
  const here = found && project(scale, spotOf(found.figures));
  const name = placeName(position, stops);

  return (
    <figure className={css.frontier}>
      <svg viewBox={`0 0 ${width} ${height}`} className={css.drawing} aria-hidden data-model={modelId}>
        <path className={css.grid} d={drawing.grid} />
        <path className={css.axes} d={drawing.axes} />
        <path className={css.curve} d={drawing.curve} />
        {drawing.dots.map((dot) => (
          <circle key={dot.name} className={css.dot} cx={dot.x} cy={dot.y} r={3.5} />
        ))}
        {here && <path className={css.here} data-estimated={!found.measured} d={diamond(here)} />}
        {[...drawing.titles, ...drawing.speeds, ...drawing.rises].map(({ x, y, text, anchor }) => (
          <text key={`${x} ${y}`} className={css.scale} x={x} y={y} textAnchor={anchor}>
            {text}
          </text>
        ))}
        {drawing.names.map(({ x, y, text, anchor }) => (
          <text key={text} className={css.name} data-here={text === name} x={x} y={y} textAnchor={anchor}>
            {text}
          </text>
        ))}
      </svg>
      <table className="visually-hidden">
        <caption>Measured stops of this model</caption>
        <thead>
          <tr>
            {['Stop', 'Speed', 'Against dense', 'Perplexity', 'KL', 'Agreement', 'Density', 'Read per token'].map(
              (title) => (
                <th key={title} scope="col">
                  {title}
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>
          {frontier.map((point) => (
            <tr key={point.stop}>
              <th scope="row">{point.stop}</th>
              <td>{formatRate(point.tokensPerSecond)}</td>
              <td>{formatSpeedup(point.speedup)}</td>
              <td>{formatRise(point.perplexityRatio)}</td>
              <td>{formatKl(point.kl)} nats a token</td>
              <td>{formatShare(point.agreement)}</td>
              <td>{formatShare(point.density)}</td>
              <td>{formatBytes(point.bytesPerToken)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </figure>
  );
}

/** Told from the stops' circles by its form, not only by its colour. */
const diamond = ({ x, y }: { x: number; y: number }): string => `M${x} ${y - 6.5}l6.5 6.5l-6.5 6.5l-6.5 -6.5z`;
