import { ChevronDown, Info } from 'lucide-react';
import { Popover } from 'radix-ui';
import { deviceWords } from '../lib/deviceWords';
import { focusContainer } from '../lib/focusContainer';
import { engineSummary } from '../lib/engineSummary';
import { useStore } from '../store/store';
import { ModelList } from './ModelList';
import css from './ModelPicker.module.css';
import controls from './controls.module.css';

/** The model in use and what it is doing; opens the list of models. */
export function ModelPicker() {
  const open = useStore((s) => s.modelPickerOpen);
  const { setModelPickerOpen: setOpen, setSettingsOpen } = useStore.getState();
  const engine = useStore((s) => s.engine);
  const models = useStore((s) => s.models);
  const downloads = useStore((s) => s.downloads);
  const device = deviceWords(engine);
  const note = engine?.deviceNote ?? null;
  const { name, detail, tone } = engineSummary(engine, models, downloads);

  return (
    <Popover.Root open={open} onOpenChange={setOpen}>
      <Popover.Trigger className={css.trigger}>
        <span className={css.dot} data-tone={tone} />
        <span className="visually-hidden">Model: </span>
        <span className={css.name}>{name}</span>
        {device !== null && (
          <>
            <span className="visually-hidden"> on </span>
            <span className={css.device}>{device}</span>
          </>
        )}
        {note !== null && <Info className={css.info} size={14} aria-hidden />}
        <span className="visually-hidden">, </span>
        {/* That all is well the dot says; anything else is worth words. */}
        <span className={tone === 'ready' ? 'visually-hidden' : css.detail}>{detail}</span>
        <ChevronDown size={15} aria-hidden />
      </Popover.Trigger>
      <Popover.Portal>
        <Popover.Content
          className={css.popover}
          align="end"
          sideOffset={6}
          collisionPadding={10}
          aria-label="Models"
          onOpenAutoFocus={focusContainer}
        >
          {note !== null && (
            <div className={css.note}>
              <Info size={15} aria-hidden />
              <p>{note}</p>
              <button
                type="button"
                className={`${controls.button} ${controls.buttonSmall}`}
                onClick={() => {
                  setOpen(false);
                  setSettingsOpen(true, 'performance');
                }}
              >
                Settings
              </button>
            </div>
          )}
          <ModelList onChosen={() => setOpen(false)} />
        </Popover.Content>
      </Popover.Portal>
    </Popover.Root>
  );
}
