import { X } from 'lucide-react';
import { shownConfig } from '../store/chatsSlice';
import { useStore } from '../store/store';
import { IconButton } from './IconButton';
import css from './Panel.module.css';
import { PanelSection } from './PanelSection';
import { SamplingControls } from './SamplingControls';
import { SparsitySettings } from './SparsitySettings';
import { SystemPromptField } from './SystemPromptField';
import { defaultSampling } from '../../electron/contract/entities';

/** The right-hand panel: how this chat is answered. One PanelSection per concern. */
export function Panel() {
  const chatId = useStore((s) => s.activeId);
  // One by one: a slider that is dragged must not draw the whole panel again.
  const systemPrompt = useStore((s) => shownConfig(s).systemPrompt);
  const sampling = useStore((s) => shownConfig(s).sampling);
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
        <PanelSection title="Sparsity">
          <SparsitySettings />
        </PanelSection>
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
