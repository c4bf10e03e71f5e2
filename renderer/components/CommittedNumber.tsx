import { useId, useState } from 'react';
import { fit } from '../lib/samplingFields';
import controls from './controls.module.css';
import css from './SettingsDialog.module.css';

interface CommittedNumberProps {
  label: string;
  hint: string;
  value: number | null;
  min: number;
  max: number;
  onCommit: (value: number) => void;
  /** What an empty field means, and what to do about it; without it an emptied field gets its value back. */
  empty?: { words: string; onCommit: () => void };
}

/** A whole number that takes effect on Enter or on leaving the field: each change reloads the model. */
export function CommittedNumber({ label, hint, value, min, max, onCommit, empty }: CommittedNumberProps) {
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);
  const commit = (): void => {
    const next = typed === null ? null : fit({ min, max, step: 1 }, typed);
    setTyped(null);
    if (empty && typed?.trim() === '' && value !== null) empty.onCommit();
    if (next !== null && next !== value) onCommit(next);
  };
  return (
    <div className={css.setting}>
      <div>
        <label className={css.label} htmlFor={id}>
          {label}
        </label>
        <p className={css.hint} id={`${id}-hint`}>
          {hint}
        </p>
      </div>
      <input
        id={id}
        className={`${controls.field} ${css.number}`}
        inputMode="numeric"
        aria-describedby={`${id}-hint`}
        placeholder={empty?.words}
        value={typed ?? String(value ?? '')}
        onChange={(event) => setTyped(event.target.value)}
        onBlur={commit}
        onKeyDown={(event) => {
          if (event.key === 'Enter') commit();
        }}
      />
    </div>
  );
}
