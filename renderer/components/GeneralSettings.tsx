import { Monitor, Moon, Sun } from 'lucide-react';
import { ToggleGroup } from 'radix-ui';
import type { Settings } from '../../electron/contract/entities';
import { useStore } from '../store/store';
import { CommittedNumber } from './CommittedNumber';
import css from './SettingsDialog.module.css';

const themes: { id: Settings['theme']; label: string; icon: typeof Sun }[] = [
  { id: 'system', label: 'System', icon: Monitor },
  { id: 'light', label: 'Light', icon: Sun },
  { id: 'dark', label: 'Dark', icon: Moon },
];

export function GeneralSettings() {
  const settings = useStore((s) => s.settings);
  const setSettings = useStore((s) => s.setSettings);
  if (!settings) return null;
  return (
    <div>
      <div className={css.setting}>
        <span className={css.label} id="theme-label">
          Theme
        </span>
        <ToggleGroup.Root
          type="single"
          className={css.segments}
          aria-labelledby="theme-label"
          value={settings.theme}
          onValueChange={(theme) => theme && void setSettings({ theme: theme as Settings['theme'] })}
        >
          {themes.map(({ id, label, icon: Icon }) => (
            <ToggleGroup.Item key={id} value={id} className={css.segment}>
              <Icon size={14} aria-hidden />
              {label}
            </ToggleGroup.Item>
          ))}
        </ToggleGroup.Root>
      </div>
      <CommittedNumber
        label="Kept activations (MB)"
        hint="Frames of the activation panel that stay with your chats; the oldest go first, texts never."
        value={settings.activityKeepMb}
        min={0}
        max={65536}
        onCommit={(value) => void setSettings({ activityKeepMb: value })}
      />
      <CommittedNumber
        label="Neuron records (MB)"
        hint="The newest tokens, while the panel notes every neuron, in a file that goes when Hunch ends; 0 keeps none."
        value={settings.activityRingMb}
        min={0}
        max={65536}
        onCommit={(value) => void setSettings({ activityRingMb: value })}
      />
    </div>
  );
}
