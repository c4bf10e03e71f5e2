import { Switch } from 'radix-ui';
import { useId } from 'react';
import css from './SwitchSetting.module.css';

interface SwitchSettingProps {
  label: string;
  hint: string;
  /** What is special now, after the hint. */
  note: string | null;
  checked: boolean;
  onChange: (checked: boolean) => void;
}

export function SwitchSetting({ label, hint, note, checked, onChange }: SwitchSettingProps) {
  const id = useId();
  return (
    <div className={css.setting}>
      <label htmlFor={id}>{label}</label>
      <Switch.Root
        id={id}
        className={css.switch}
        checked={checked}
        onCheckedChange={onChange}
        aria-describedby={`${id}-hint`}
      >
        <Switch.Thumb className={css.thumb} />
      </Switch.Root>
      <p id={`${id}-hint`} className={css.hint}>
        {hint}
        {note !== null && <span> {note}</span>}
      </p>
    </div>
  );
}
