import { defaultSampling } from '../../electron/contract/entities';
import type { Settings } from '../../electron/contract/entities';
import { useDebouncedSave } from '../lib/useDebouncedSave';
import { useStore } from '../store/store';
import { SamplingControls } from './SamplingControls';
import css from './SettingsDialog.module.css';
import { SystemPromptField } from './SystemPromptField';

type Defaults = Pick<Settings, 'defaultSystemPrompt' | 'defaultSampling'>;

/** What a new chat starts with. Existing chats keep theirs. */
export function DefaultsSettings() {
  const settings = useStore((s) => s.settings);
  const setSettings = useStore((s) => s.setSettings);
  const [edited, edit, flush] = useDebouncedSave<Partial<Defaults>>((patch) => void setSettings(patch));
  if (!settings) return null;
  const shown = { ...settings, ...edited };
  return (
    <div onBlur={flush}>
      <section className={css.group}>
        <h3>System prompt</h3>
        <SystemPromptField
          label="Default system prompt"
          value={shown.defaultSystemPrompt}
          onChange={(defaultSystemPrompt) => edit({ ...edited, defaultSystemPrompt })}
        />
      </section>
      <section className={css.group}>
        <h3>Sampling</h3>
        <SamplingControls
          value={shown.defaultSampling}
          defaults={defaultSampling}
          onChange={(next) => edit({ ...edited, defaultSampling: next })}
        />
      </section>
    </div>
  );
}
