import type { Sparsity, SparsityState } from '../../electron/contract/sparsity';
import css from './Sparsity.module.css';
import { SwitchSetting } from './SwitchSetting';

interface SparsityTogglesProps {
  value: Sparsity;
  offers: SparsityState['offers'];
  /** Of the chat; null where none is known. */
  temperature: number | null;
  onChange: (patch: Partial<Sparsity>) => void;
}

const lacking = 'This version’s engine cannot do it yet.';

export function SparsityToggles({ value, offers, temperature, onChange }: SparsityTogglesProps) {
  const idle = value.speculation && temperature !== null && temperature > 0;
  return (
    <div className={css.toggles}>
      <SwitchSetting
        label="Dense correction"
        hint="Now and then computes the last tokens’ keys and values densely again, so that errors do not add up."
        note={offers.correction ? null : lacking}
        checked={value.correction && offers.correction}
        disabled={!offers.correction}
        onChange={(correction) => onChange({ correction })}
      />
      <SwitchSetting
        label="Speculation (same text as dense)"
        hint="Drafts a few tokens sparsely and checks them densely in one pass; only at temperature 0."
        note={offers.speculation ? (idle ? 'Idle now: the temperature is above 0.' : null) : lacking}
        checked={value.speculation && offers.speculation}
        disabled={!offers.speculation}
        onChange={(speculation) => onChange({ speculation })}
      />
    </div>
  );
}
