import { useId, useState } from 'react';
import { HintButton } from './HintButton';
import css from './SamplingControls.module.css';

const largest = 0xffffffff;

/** Empty: a fresh seed for each reply. */
export function SeedSetting({ value, onChange }: { value: number | null; onChange: (seed: number | null) => void }) {
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);
  return (
    <div className={css.setting}>
      <div className={css.row}>
        <label htmlFor={id}>Seed</label>
        <HintButton
          about="Seed"
          text="The same seed, settings and conversation give the same reply. Empty draws a fresh one each time."
        />
        <input
          id={id}
          className={`${css.number} ${css.seed}`}
          inputMode="numeric"
          placeholder="random"
          value={typed ?? (value === null ? '' : String(value))}
          onChange={(event) => {
            const digits = event.target.value.replace(/\D/g, '').slice(0, 10);
            setTyped(digits);
            onChange(digits === '' ? null : Math.min(largest, Number(digits)));
          }}
          onBlur={() => setTyped(null)}
        />
      </div>
    </div>
  );
}
