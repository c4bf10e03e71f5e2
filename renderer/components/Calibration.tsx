import type { SparsityState } from '../../electron/contract/sparsity';
import { formatCount, formatPercent } from '../lib/format';
import { phaseNames } from '../lib/sparsityWords';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import { Progress } from './Progress';
import css from './Sparsity.module.css';

/** When and on what the model was measured; without that, what is unknown and a button that finds out. */
export function Calibration({ state }: { state: SparsityState }) {
  const { modelId, stops, measured, calibration } = state;
  const { calibrate, cancelCalibration } = useStore.getState();
  const button = `${controls.button} ${controls.buttonSmall}`;
  if (modelId === null) return <p className={css.note}>What a place gives is shown once a model is loaded.</p>;
  if (calibration) {
    const phase = phaseNames[calibration.phase];
    return (
      <div className={css.calibration}>
        <p className={css.phase}>
          {phase}, {formatPercent(calibration.fraction)}
        </p>
        <Progress value={calibration.fraction} label="Measuring the model" />
        <p className={css.note}>{calibration.detail}</p>
        <button type="button" className={button} onClick={cancelCalibration}>
          Cancel
        </button>
      </div>
    );
  }
  return (
    <div className={css.calibration}>
      <p className={css.note}>{measured ? whatWasMeasured(measured) : whatIsUnknown(stops.includes('exact'))}</p>
      <button
        type="button"
        className={measured ? button : `${button} ${controls.primary}`}
        onClick={() => void calibrate()}
      >
        {measured ? 'Measure again' : 'Measure this model'}
      </button>
      {!measured && (
        <p className={css.note}>This takes minutes. You can go on chatting; replies are slower meanwhile.</p>
      )}
    </div>
  );
}

function whatIsUnknown(exact: boolean): string {
  return exact
    ? 'Exact leaves out neurons that are zero, so the text stays as it is. How fast this and the later stops are is not measured on this computer yet.'
    : 'Which parts of this model can be left out, and what that costs, is not measured on this computer yet. Until then it runs dense.';
}

function whatWasMeasured({ date, machine, text, tokens }: NonNullable<SparsityState['measured']>): string {
  const at = new Date(date);
  const day = Number.isNaN(at.getTime())
    ? date
    : at.toLocaleDateString('en', { day: 'numeric', month: 'short', year: 'numeric' });
  return `Measured on ${day} on ${formatCount(tokens)} tokens of ${text} (${machine}).`;
}
