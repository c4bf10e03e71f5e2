import type { Sampling } from '../../electron/contract/entities';
import { samplingFields } from '../lib/samplingFields';
import controls from './controls.module.css';
import { NumberSetting } from './NumberSetting';
import css from './SamplingControls.module.css';
import { SeedSetting } from './SeedSetting';

interface SamplingControlsProps {
  value: Sampling;
  defaults: Sampling;
  onChange: (next: Sampling) => void;
}

export function SamplingControls({ value, defaults, onChange }: SamplingControlsProps) {
  const changed = (Object.keys(defaults) as (keyof Sampling)[]).some((key) => value[key] !== defaults[key]);
  return (
    <div className={css.controls}>
      {samplingFields.map((field) => (
        <NumberSetting
          key={field.key}
          field={field}
          value={value[field.key]}
          fallback={defaults[field.key]}
          onChange={(next) => onChange({ ...value, [field.key]: next })}
        />
      ))}
      <SeedSetting value={value.seed} onChange={(seed) => onChange({ ...value, seed })} />
      <button
        type="button"
        className={`${controls.button} ${controls.buttonSmall} ${css.resetAll}`}
        disabled={!changed}
        onClick={() => onChange(defaults)}
      >
        Reset to defaults
      </button>
    </div>
  );
}
