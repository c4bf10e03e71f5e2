import { AlertTriangle } from 'lucide-react';
import { placeName } from '../../electron/contract/place';
import { stopNames } from '../../electron/contract/sparsity';
import { substituteNote } from '../lib/sparsityWords';
import { shownConfig } from '../store/chatsSlice';
import { useStore } from '../store/store';
import { Calibration } from './Calibration';
import { FrontierChart } from './FrontierChart';
import css from './Sparsity.module.css';
import { SparsityFigures } from './SparsityFigures';
import { SparsitySlider } from './SparsitySlider';
import { SparsityToggles } from './SparsityToggles';

/** The panel's section: this chat's place on the slider, and what was measured there with the loaded model. */
export function SparsitySettings() {
  const state = useStore((s) => s.sparsity);
  const sparsity = useStore((s) => shownConfig(s).sparsity);
  const setSparsity = useStore((s) => s.setSparsity);
  const { position } = sparsity;
  if (!state) return null;
  const loaded = state.modelId !== null;
  const substitute = loaded ? substituteNote(position, state) : null;
  return (
    <div className={css.sparsity}>
      <p className={css.place} aria-hidden>
        <strong>{placeName(position, loaded ? state.stops : stopNames)}</strong>
      </p>
      <SparsitySlider
        position={position}
        state={loaded ? state : null}
        onChange={(to) => setSparsity({ position: to })}
      />
      {substitute !== null && <p className={css.note}>{substitute}</p>}
      {state.problem !== null && (
        <p className={css.problem}>
          <AlertTriangle size={15} aria-hidden />
          {state.problem}
        </p>
      )}
      {state.frontier.length > 0 && (
        <>
          <FrontierChart position={position} state={state} />
          <SparsityFigures position={position} state={state} />
        </>
      )}
      <Calibration state={state} />
      <SparsityToggles value={sparsity} state={loaded ? state : null} onChange={setSparsity} />
    </div>
  );
}
