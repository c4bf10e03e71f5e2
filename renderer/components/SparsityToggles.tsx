import type { Sparsity } from '../../electron/contract/sparsity';
import { correctionSentence, type Stops } from '../lib/sparsityWords';
import css from './Sparsity.module.css';
import { SwitchSetting } from './SwitchSetting';

interface SparsityTogglesProps {
  value: Sparsity;
  /** Of the model; null where none is meant: then nothing is said of what they cost. */
  state: Stops | null;
  onChange: (patch: Partial<Sparsity>) => void;
}

export function SparsityToggles({ value, state, onChange }: SparsityTogglesProps) {
  const { position, correction, speculation } = value;
  const without = state && state.frontier.length > 0 ? 'The figures above are without it.' : null;
  const costs = state && correctionSentence(position, state);
  return (
    <div className={css.toggles}>
      <SwitchSetting
        label="Dense correction"
        hint="Every few tokens computes their keys and values densely again, so that errors do not add up. This costs speed."
        note={
          correction && speculation
            ? 'Idle: speculation writes dense’s text.'
            : (costs ?? (correction ? without : null))
        }
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
