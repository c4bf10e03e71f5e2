import css from './controls.module.css';

/** A bar from 0 to 1; null where only the work is known, not its size. */
export function Progress({ value, label }: { value: number | null; label: string }) {
  return (
    <div
      className={css.progress}
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuenow={value === null ? undefined : Math.round(value * 100)}
    >
      {value === null ? (
        <div className={`${css.progressBar} ${css.progressUnknown}`} />
      ) : (
        <div className={css.progressBar} style={{ width: `${Math.min(1, Math.max(0, value)) * 100}%` }} />
      )}
    </div>
  );
}
