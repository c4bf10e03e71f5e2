import { AlertCircle } from 'lucide-react';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import css from './EngineBanner.module.css';
import { GpuRemedies } from './GpuRemedies';

/** Above the conversation while the engine is down: chats stay readable, and one click brings it back. */
export function EngineBanner() {
  const engine = useStore((s) => s.engine);
  const { restartEngine, setModelPickerOpen } = useStore.getState();
  if (!engine || (engine.state !== 'crashed' && !engine.error)) return null;
  const crashed = engine.state === 'crashed';
  return (
    <div role="alert" className={css.banner}>
      <AlertCircle size={17} aria-hidden />
      <p>{engine.error?.message ?? 'The engine stopped unexpectedly. Your chats are safe.'}</p>
      <GpuRemedies code={engine.error?.code} />
      <button
        type="button"
        className={`${controls.button} ${controls.buttonSmall}`}
        onClick={() => (crashed ? void restartEngine() : setModelPickerOpen(true))}
      >
        {crashed ? 'Restart engine' : 'Choose a model'}
      </button>
    </div>
  );
}
