import { ChevronFirst, ChevronLast, ChevronLeft, ChevronRight, Pause, Play, Radio } from 'lucide-react';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import type { KeyboardEvent, PointerEvent } from 'react';
import { tokenSentence, tokenWords } from '../../activity/words';
import type { Source } from '../../activity/source';
import { barsOf, drawBars, tokenAt, tokenSpan } from '../../canvas/bars';
import { scaleColour } from '../../canvas/palette';
import { formatBytes } from '../../lib/format';
import { lessMotion } from '../../lib/motion';
import type { StripMeasure } from '../../store/activitySlice';
import { useStore } from '../../store/store';
import { IconButton } from '../IconButton';
import css from './TokenStrip.module.css';
import { useSize } from './useSize';

const measures: Record<StripMeasure, { name: string; format: (value: number) => string }> = {
  bytes: { name: 'Weights read', format: formatBytes },
  milliseconds: { name: 'Time', format: (value) => `${value.toFixed(1)} ms` },
  active: { name: 'Active neurons', format: (value) => String(Math.round(value)) },
  missed: { name: 'Missed (audit tokens only)', format: (value) => String(Math.round(value)) },
  surprise: { name: 'Surprise (runs only)', format: (value) => `${value.toFixed(1)} nats` },
};

const none = new Float32Array(0);

/** The numbers that the strip shows; [tokens]. */
function valuesOf(source: Source | null, measure: StripMeasure): Float32Array {
  if (!source) return none;
  if (measure !== 'surprise') return source.track.column(measure);
  return source.surprise ?? new Float32Array(source.track.length).fill(Number.NaN);
}

/** Time: every token as a bar, and what moves among them. */
export function TokenStrip({ source }: { source: Source | null }) {
  const token = useStore((s) => s.token);
  const following = useStore((s) => s.following);
  const measure = useStore((s) => s.look.stripMeasure);
  const scale = useStore((s) => s.look.scale);
  const { moveToken, follow, setLook } = useStore.getState();
  const strip = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSize(strip);
  const count = source?.track.length ?? 0;
  const { playing, rate, setRate, toggle } = usePlay(count);

  // A track changes inside: the tick says when.
  const tick = useStore((s) => s.sourceTick);
  useLayoutEffect(() => {
    const context = canvas.current?.getContext('2d');
    if (!context || size.width === 0) return;
    canvas.current!.width = size.width;
    canvas.current!.height = size.height;
    drawBars(context, barsOf(valuesOf(source, measure), size.width), size.height, {
      colour: (share) => scaleColour(scale, 0.15 + share * 0.8),
      unknown: '#8d9095',
    });
  }, [source, tick, measure, scale, size.width, size.height]);

  const onKeyDown = (event: KeyboardEvent): void => {
    const to = tokenKey(event.key, token, count);
    if (event.key === ' ') toggle();
    else if (to === null || event.ctrlKey || event.metaKey || event.altKey) return;
    else moveToken(to);
    event.preventDefault();
    event.stopPropagation();
  };
  const choose = (event: PointerEvent): void => {
    const box = event.currentTarget.getBoundingClientRect();
    const chosen = tokenAt(event.clientX - box.left, count, size.width);
    if (chosen !== null) moveToken(chosen);
  };
  const span = tokenSpan(token, count, size.width);
  const max = useMemo(
    () => valuesOf(source, measure).reduce((most, value) => (value > most ? value : most), 0),
    // eslint-disable-next-line react-hooks/exhaustive-deps -- as above
    [source, tick, measure],
  );
  const empty = count > 0 && max === 0 && (measure === 'missed' || measure === 'surprise');
  return (
    <div className={css.time}>
      <div className={css.controls}>
        <IconButton small label="First token" onClick={() => moveToken(0)} disabled={count === 0}>
          <ChevronFirst size={16} aria-hidden />
        </IconButton>
        <IconButton small label="Token before" onClick={() => moveToken(token - 1)} disabled={token <= 0}>
          <ChevronLeft size={16} aria-hidden />
        </IconButton>
        <IconButton
          small
          label={playing ? 'Pause' : lessMotion() ? 'Play (off, as the system asks for less motion)' : 'Play'}
          onClick={toggle}
          disabled={count === 0 || lessMotion()}
        >
          {playing ? <Pause size={15} aria-hidden /> : <Play size={15} aria-hidden />}
        </IconButton>
        <IconButton small label="Next token" onClick={() => moveToken(token + 1)} disabled={token >= count - 1}>
          <ChevronRight size={16} aria-hidden />
        </IconButton>
        <IconButton small label="Last token" onClick={() => moveToken(count - 1)} disabled={count === 0}>
          <ChevronLast size={16} aria-hidden />
        </IconButton>
        <IconButton
          small
          label={following ? 'Following the newest token' : 'Follow the newest token'}
          aria-pressed={following}
          onClick={follow}
        >
          <Radio size={15} aria-hidden />
        </IconButton>
        <label className={css.choice}>
          <span>Speed</span>
          <select value={rate} onChange={(event) => setRate(Number(event.target.value))}>
            {[1, 2, 5, 10, 30].map((each) => (
              <option key={each} value={each}>
                {each}/s
              </option>
            ))}
          </select>
        </label>
        <label className={css.choice}>
          <span>Bars</span>
          <select value={measure} onChange={(event) => setLook({ stripMeasure: event.target.value as StripMeasure })}>
            {Object.entries(measures).map(([name, about]) => (
              <option key={name} value={name}>
                {about.name}
              </option>
            ))}
          </select>
        </label>
        <span className={css.most}>
          {empty
            ? measure === 'missed'
              ? 'no misses on audit tokens'
              : 'analyse the reply to measure surprise'
            : count > 0 && `highest bar: ${measures[measure].format(max)}`}
        </span>
      </div>
      <div
        ref={strip}
        className={css.strip}
        role="slider"
        tabIndex={0}
        aria-label="Token"
        aria-valuemin={1}
        aria-valuemax={Math.max(1, count)}
        aria-valuenow={Math.min(count, token + 1)}
        aria-valuetext={source ? tokenSentence(source, token) : 'No tokens'}
        onKeyDown={onKeyDown}
        onPointerDown={(event) => {
          event.currentTarget.setPointerCapture(event.pointerId);
          choose(event);
        }}
        onPointerMove={(event) => event.buttons === 1 && choose(event)}
      >
        <canvas ref={canvas} className={css.bars} aria-hidden />
        {count > 0 && <div className={css.here} style={{ left: span.left, width: span.width }} aria-hidden />}
      </div>
      {source && <Words source={source} token={token} />}
    </div>
  );
}

/** Where a key leads; null for keys that do not move. */
export function tokenKey(key: string, token: number, count: number): number | null {
  switch (key) {
    case 'ArrowLeft':
    case 'ArrowDown':
      return token - 1;
    case 'ArrowRight':
    case 'ArrowUp':
      return token + 1;
    case 'PageUp':
      return token + 10;
    case 'PageDown':
      return token - 10;
    case 'Home':
      return 0;
    case 'End':
      return count - 1;
    default:
      return null;
  }
}

function usePlay(count: number) {
  const [playing, setPlaying] = useState(false);
  const [rate, setRate] = useState(5);
  const running = playing && count > 0 && !lessMotion();
  useEffect(() => {
    if (!running) return;
    const timer = setInterval(() => {
      const { token, sourceId, sources, moveToken } = useStore.getState();
      const length = sources[sourceId ?? '']?.track.length ?? 0;
      if (token + 1 >= length) setPlaying(false);
      else moveToken(token + 1);
    }, 1000 / rate);
    return () => clearInterval(timer);
  }, [running, rate]);
  const toggle = (): void => {
    const { token, moveToken } = useStore.getState();
    if (!playing && token >= count - 1) moveToken(0);
    setPlaying(!playing);
  };
  return { playing: running, rate, setRate, toggle };
}

const around = 28;

/** The text around the token, which stays in the middle; for the mouse and the eye, as the strip says the same to others. */
function Words({ source, token }: { source: Source; token: number }) {
  const { track } = source;
  const from = Math.max(0, token - around);
  const word = (at: number) => (
    <span
      key={at}
      className={css.word}
      data-here={at === token}
      data-frame={!Number.isNaN(track.figure('bytes', at))}
      data-missed={track.figure('missed', at) > 0}
      onClick={() => useStore.getState().moveToken(at)}
    >
      {tokenWords(track.tokens[at]!.text)}
    </span>
  );
  const range = (first: number, end: number): number[] =>
    Array.from({ length: Math.max(0, Math.min(end, track.length) - first) }, (_, i) => first + i);
  return (
    <div className={css.words} aria-hidden>
      <div className={css.before}>{range(from, token).map(word)}</div>
      {range(token, token + 1).map(word)}
      <div className={css.after}>{range(token + 1, token + around + 1).map(word)}</div>
    </div>
  );
}
