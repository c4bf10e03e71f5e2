import { X } from 'lucide-react';
import { useShallow } from 'zustand/react/shallow';
import { shownConfig } from '../store/chatsSlice';
import { useStore } from '../store/store';
import { IconButton } from './IconButton';
import css from './Panel.module.css';
import { PanelSection } from './PanelSection';
import { SamplingControls } from './SamplingControls';
import { SystemPromptField } from './SystemPromptField';
import { defaultSampling } from '../../electron/contract/entities';

/** The right-hand panel: how this chat is answered. One PanelSection per concern. */
export function Panel() {
  const chatId = useStore((s) => s.activeId);
  const { systemPrompt, sampling } = useStore(useShallow(shownConfig));
  const defaults = useStore((s) => s.settings?.defaultSampling ?? defaultSampling);
  const { configureChat, flushConfigure, togglePanel } = useStore.getState();
  return (
    <div className={css.panel} onBlur={() => void flushConfigure()}>
      <div className={css.head}>
        <h2>Chat settings</h2>
        <IconButton label="Close chat settings" onClick={togglePanel}>
          <X size={17} aria-hidden />
        </IconButton>
      </div>
      <div className={css.body}>
        <PanelSection title="System prompt">
          <SystemPromptField
            key={chatId ?? 'new'}
            label="System prompt"
            value={systemPrompt}
            onChange={(text) => configureChat(chatId, { systemPrompt: text })}
          />
        </PanelSection>
        <PanelSection title="Sampling">
          <SamplingControls
            value={sampling}
            defaults={defaults}
            onChange={(next) => configureChat(chatId, { sampling: next })}
          />
        </PanelSection>
      </div>
    </div>
  );
}
