import css from './Activity.module.css';

/** A small labelled list of choices. */
export function Choice<T extends string | number>({
  label,
  value,
  options,
  onChange,
}: {
  label: string;
  value: T;
  options: readonly (readonly [value: T, name: string])[];
  onChange: (value: T) => void;
}) {
  return (
    <label className={css.choice}>
      <span>{label}</span>
      <select
        value={value}
        onChange={(event) => {
          const found = options.find(([each]) => String(each) === event.target.value);
          if (found) onChange(found[0]);
        }}
      >
        {options.map(([each, name]) => (
          <option key={each} value={each}>
            {name}
          </option>
        ))}
      </select>
    </label>
  );
}
