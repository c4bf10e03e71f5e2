import { RotateCcw } from 'lucide-react';
import { Slider } from 'radix-ui';
import { useId, useState } from 'react';
import { fit } from '../lib/samplingFields';
import type { SamplingField } from '../lib/samplingFields';
import { HintButton } from './HintButton';
import { IconButton } from './IconButton';
import css from './SamplingControls.module.css';

interface NumberSettingProps {
  field: SamplingField;
  value: number;
  fallback: number;
  onChange: (next: number) => void;
}

/** A number to type or to slide. What is typed counts once it is a number; leaving the field tidies it up. */
export function NumberSetting({ field, value, fallback, onChange }: NumberSettingProps) {
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);

  return (
    <div className={css.setting}>
      <div className={css.row}>
        <label htmlFor={id}>{field.label}</label>
        <HintButton about={field.label} text={field.hint} />
        {value !== fallback && (
          <IconButton
            small
            className={css.reset}
            label={`Reset ${field.label} to ${fallback}`}
            onClick={() => onChange(fallback)}
          >
            <RotateCcw size={13} aria-hidden />
          </IconButton>
        )}
        <input
          id={id}
          className={css.number}
          inputMode="decimal"
          value={typed ?? String(value)}
          onChange={(event) => {
            setTyped(event.target.value);
            const next = fit(field, event.target.value);
            if (next !== null) onChange(next);
          }}
          onBlur={() => setTyped(null)}
          onKeyDown={(event) => {
            const up = event.key === 'ArrowUp';
            if (!up && event.key !== 'ArrowDown') return;
            event.preventDefault();
            setTyped(null);
            const next = fit(field, String(value + (up ? field.step : -field.step)));
            if (next !== null) onChange(next);
          }}
        />
      </div>
      <Slider.Root
        className={css.slider}
        min={field.slideMin}
        max={field.slideMax}
        step={field.step}
        value={[Math.min(field.slideMax, Math.max(field.slideMin, value))]}
        onValueChange={([next]) => {
          setTyped(null);
          if (next !== undefined) onChange(Number(next.toFixed(4)));
        }}
      >
        <Slider.Track className={css.track}>
          <Slider.Range className={css.range} />
        </Slider.Track>
        <Slider.Thumb
          className={css.thumb}
          aria-label={`${field.label} slider`}
          aria-valuetext={value === field.off ? `${value}, off` : String(value)}
        />
      </Slider.Root>
    </div>
  );
}
