import type { Source } from '../../activity/source';
import { useStore } from '../../store/store';
import controls from '../controls.module.css';
import css from './Activity.module.css';
import { analyse } from './useActivity';

/** Runs a reply again along its own tokens and notes every neuron. */
export function AnalyseButton({ source }: { source: Source }) {
  const running = useStore((s) => s.rerunning);
  const writing = useStore((s) => Object.keys(s.live).length > 0);
  if (source.messageId === null) return null;
  return (
    <>
      <button
        type="button"
        className={`${controls.button} ${controls.buttonSmall}`}
        disabled={running !== null || writing}
        onClick={() => void analyse(source.messageId!)}
      >
        Analyse this reply
      </button>
      <p className={css.small}>
        Runs it again along the same tokens, in a cache of its own, and notes every neuron. The chat is not touched.
      </p>
    </>
  );
}
