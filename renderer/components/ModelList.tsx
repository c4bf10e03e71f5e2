import { FolderOpen } from 'lucide-react';
import { useStore } from '../store/store';
import controls from './controls.module.css';
import css from './ModelList.module.css';
import { ModelRow } from './ModelRow';

/** Every model the app knows, and the way to bring one's own. */
export function ModelList({ onChosen }: { onChosen?: () => void }) {
  const models = useStore((s) => s.models);
  const importModel = useStore((s) => s.importModel);
  return (
    <div>
      <ul className={css.list} aria-label="Models">
        {models?.map((model) => (
          <ModelRow key={model.id} model={model} onChosen={onChosen} />
        ))}
      </ul>
      {models?.length === 0 && <p className={css.empty}>No models yet. Import a GGUF file to begin.</p>}
      <div className={css.foot}>
        <button
          type="button"
          className={controls.button}
          onClick={() => {
            onChosen?.(); // what comes of it is told where the popover would cover it
            void importModel();
          }}
        >
          <FolderOpen size={16} aria-hidden />
          Import a .gguf file…
        </button>
      </div>
    </div>
  );
}
