import { X } from 'lucide-react';
import { Dialog, Tabs } from 'radix-ui';
import type { ReactNode } from 'react';
import { useReturnFocus } from '../lib/useReturnFocus';
import { useStore } from '../store/store';
import type { SettingsTab } from '../store/uiSlice';
import { AboutSettings } from './AboutSettings';
import { DefaultsSettings } from './DefaultsSettings';
import { GeneralSettings } from './GeneralSettings';
import { IconButton } from './IconButton';
import { ModelList } from './ModelList';
import { PerformanceSettings } from './PerformanceSettings';
import css from './SettingsDialog.module.css';

const tabs: { id: SettingsTab; label: string; body: ReactNode }[] = [
  { id: 'general', label: 'General', body: <GeneralSettings /> },
  { id: 'performance', label: 'Performance', body: <PerformanceSettings /> },
  { id: 'models', label: 'Models', body: <ModelList /> },
  { id: 'defaults', label: 'New chats', body: <DefaultsSettings /> },
  { id: 'about', label: 'Data & about', body: <AboutSettings /> },
];

function focusChosenTab(event: Event): void {
  event.preventDefault();
  (event.currentTarget as HTMLElement).querySelector<HTMLElement>('[role=tab][data-state=active]')?.focus();
}

export function SettingsDialog() {
  const open = useStore((s) => s.settingsOpen);
  const tab = useStore((s) => s.settingsTab);
  const { setSettingsOpen, setSettingsTab } = useStore.getState();
  const focus = useReturnFocus(focusChosenTab);
  return (
    <Dialog.Root open={open} onOpenChange={(next) => setSettingsOpen(next)}>
      <Dialog.Portal>
        {/* Not Dialog.Overlay: it locks the page's scrolling with an inline style, which the policy forbids and we do not need. */}
        <div className={css.overlay} />
        <Dialog.Content className={css.dialog} aria-describedby={undefined} {...focus}>
          <header className={css.head}>
            <Dialog.Title>Settings</Dialog.Title>
            <Dialog.Close asChild>
              <IconButton label="Close settings">
                <X size={18} aria-hidden />
              </IconButton>
            </Dialog.Close>
          </header>
          <Tabs.Root
            className={css.tabs}
            value={tab}
            onValueChange={(next) => setSettingsTab(next as SettingsTab)}
            orientation="vertical"
          >
            <Tabs.List className={css.list} aria-label="Settings">
              {tabs.map(({ id, label }) => (
                <Tabs.Trigger key={id} value={id} className={css.tab}>
                  {label}
                </Tabs.Trigger>
              ))}
            </Tabs.List>
            {tabs.map(({ id, body }) => (
              <Tabs.Content key={id} value={id} className={css.body}>
                {body}
              </Tabs.Content>
            ))}
          </Tabs.Root>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
