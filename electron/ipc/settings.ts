import type { Settings } from '../contract/entities';
import type { SettingsFile } from '../settings';
import type { DomainHandlers } from './dispatch';

export interface SettingsDependencies {
  settings: SettingsFile;
  onChanged(settings: Settings, before: Settings): void;
}

export function settingsHandlers({ settings, onChanged }: SettingsDependencies): DomainHandlers<'settings'> {
  return {
    'settings.get': () => settings.get(),
    'settings.set': (change) => {
      const before = settings.get();
      const after = settings.set(change);
      onChanged(after, before);
      return after;
    },
  };
}
