import { Slider } from 'radix-ui';
import { useEffect, useId, useRef } from 'react';
import { stopAt, stopNames, stopPosition } from '../../electron/contract/sparsity';
import type { SparsityState } from '../../electron/contract/sparsity';
import { snap, stepByKey } from '../lib/sliderSteps';
import { missingReason, placeSentence } from '../lib/sparsityWords';
import { useStore } from '../store/store';
import css from './Sparsity.module.css';
import { Tip } from './Tip';

interface SparsitySliderProps {
  position: number;
  /** Null: of no model in particular, so every stop is there. */
  state: SparsityState | null;
  onChange: (position: number) => void;
}

/** From dense to fastest. Keys: arrows move a little, Page Up and Down to the next stop, Home and End to the ends. */
export function SparsitySlider({ position, state, onChange }: SparsitySliderProps) {
  const id = useId();
  const thumb = useRef<HTMLSpanElement>(null);
  const wish = useStore((s) => s.focusWish);
  const stops = state?.stops ?? stopNames;
  const missing = state ? stopNames.filter((stop) => !stops.includes(stop)) : [];
  const current = stopAt(position);

  useEffect(() => {
    if (wish.target !== 'sparsity') return;
    thumb.current?.focus();
    useStore.getState().wishFocus(null); // fulfilled: a later mount must not take the focus again
  }, [wish]);

  return (
    <div className={css.slide}>
      <Slider.Root
        className={css.slider}
        min={0}
        max={1}
        step={0.01}
        value={[position]}
        onValueChange={([next]) => next !== undefined && onChange(snap(next, stops))}
        onKeyDown={(event) => {
          const next = stepByKey(event.key, position, stops);
          if (next === null) return;
          event.preventDefault(); // the slider's own steps know no stops
          if (next !== position) onChange(next);
        }}
      >
        <Slider.Track className={css.track}>
          <Slider.Range className={css.range} />
        </Slider.Track>
        {stopNames.map((stop) => (
          <span
            key={stop}
            className={css.tick}
            data-missing={missing.includes(stop)}
            data-passed={stopPosition(stop) < position}
            style={{ left: `calc(8px + ${stopPosition(stop)} * (100% - 16px))` }}
          />
        ))}
        <Slider.Thumb
          ref={thumb}
          className={css.thumb}
          aria-label="Sparsity"
          aria-valuetext={state ? placeSentence(position, state) : (current ?? `${Math.round(position * 100)} %`)}
          aria-describedby={missing.length > 0 ? id : undefined}
        />
      </Slider.Root>
      {/* For the eye and the mouse; the slider itself says the same and takes the keys. */}
      <div className={css.stops} aria-hidden>
        {stopNames.map((stop) => {
          const absent = missing.includes(stop);
          const label = (
            <span
              key={stop}
              className={css.stop}
              data-missing={absent}
              data-current={stop === current && !absent}
              style={{ left: `calc(8px + ${stopPosition(stop)} * (100% - 16px))` }}
              onClick={() => onChange(stopPosition(stop))}
            >
              {stop}
            </span>
          );
          return absent && state ? (
            <Tip key={stop} text={missingReason(stop, state)} side="top">
              {label}
            </Tip>
          ) : (
            label
          );
        })}
      </div>
      {state && missing.length > 0 && (
        <p id={id} className="visually-hidden">
          {missing.map((stop) => missingReason(stop, state)).join(' ')}
        </p>
      )}
    </div>
  );
}
