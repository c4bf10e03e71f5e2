import { Gauge } from 'lucide-react';
import { placeSummary } from '../lib/sparsityWords';
import { shownConfig } from '../store/chatsSlice';
import { useStore } from '../store/store';
import css from './Composer.module.css';
import { Tip } from './Tip';

/** Where this chat's slider stands, in two words; leads to it. */
export function SparsityReadout() {
  const state = useStore((s) => s.sparsity);
  const sparsity = useStore((s) => shownConfig(s).sparsity);
  const focusSparsity = useStore((s) => s.focusSparsity);
  // Without a model the place has no meaning yet.
  if (!state || state.modelId === null) return null;
  const { name, speed } = placeSummary(sparsity, state);
  return (
    <Tip text="How much is computed in this chat" side="top">
      <button type="button" className={css.readout} onClick={focusSparsity}>
        <Gauge size={13} aria-hidden />
        <span className="visually-hidden">Sparsity: </span>
        {name}
        {speed !== null && <span>{speed}</span>}
      </button>
    </Tip>
  );
}
