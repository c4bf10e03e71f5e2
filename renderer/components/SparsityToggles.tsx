import { placeAt } from '../../electron/contract/place';
import type { Sparsity, StopName } from '../../electron/contract/sparsity';
import css from './Sparsity.module.css';
import { SwitchSetting } from './SwitchSetting';

interface SparsityTogglesProps {
  value: Sparsity;
  stops: readonly StopName[];
  /** Whether figures are shown beside them. */
  measured: boolean;
  onChange: (patch: Partial<Sparsity>) => void;
}

export function SparsityToggles({ value, stops, measured, onChange }: SparsityTogglesProps) {
  const { position, correction, speculation } = value;
  const { to } = placeAt(position, stops);
  const without = measured ? 'The figures above are without it.' : null;
  const lossless = to === 'dense' || to === 'exact';
  return (
    <div className={css.toggles}>
      <SwitchSetting
        label="Dense correction"
        hint="Every few tokens computes their keys and values densely again, so that errors do not add up. This costs speed."
        note={correction ? (speculation || lossless ? 'Idle: nothing is lost here.' : without) : null}
        checked={correction}
        onChange={(correction) => onChange({ correction })}
      />
      <SwitchSetting
        label="Speculation (same text as dense)"
        hint="Drafts some tokens as cheaply as this place allows and checks them densely in one pass. Counts from the next reply on."
        note={speculation ? without : null}
        checked={speculation}
        onChange={(speculation) => onChange({ speculation })}
      />
    </div>
  );
}
