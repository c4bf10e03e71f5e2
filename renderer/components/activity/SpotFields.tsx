import type { SummaryFrame } from '../../../electron/contract/frames';
import { useStore } from '../../store/store';
import css from './Activity.module.css';

/** Chooses a neuron or head by its numbers. */
export function SpotFields({ frame, over }: { frame: SummaryFrame; over: 'neuron' | 'head' }) {
  const spot = useStore((s) => s.spot);
  const { setSpot } = useStore.getState();
  const field = (name: string, value: number, most: number, set: (next: number) => void) => (
    <label className={css.choice}>
      <span>{name}</span>
      <input
        type="number"
        min={0}
        max={most}
        value={Math.min(value, most)}
        onChange={(event) => {
          const next = event.target.valueAsNumber;
          if (Number.isInteger(next)) set(Math.min(most, Math.max(0, next)));
        }}
      />
    </label>
  );
  return (
    <>
      {field('layer', spot.layer, frame.layers.length - 1, (layer) => setSpot({ layer }))}
      {over === 'neuron'
        ? field('neuron', spot.neuron, frame.neurons - 1, (neuron) => setSpot({ neuron }))
        : field('head', spot.head, frame.heads - 1, (head) => setSpot({ head }))}
    </>
  );
}
