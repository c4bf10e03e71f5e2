import { Grid3x3, PanelLeft, PanelRight, SquarePen } from 'lucide-react';
import { shortcut } from '../lib/shortcut';
import { useStore } from '../store/store';
import { HeaderTitle } from './HeaderTitle';
import css from './Header.module.css';
import { IconButton } from './IconButton';
import { ModelPicker } from './ModelPicker';

export function Header({ sidebarShown, panelShown }: { sidebarShown: boolean; panelShown: boolean }) {
  const activityOpen = useStore((s) => s.activityOpen);
  const { toggleSidebar, togglePanel, toggleActivity, newChat } = useStore.getState();
  return (
    <header className={css.header}>
      {!sidebarShown && (
        <>
          <IconButton label="Show sidebar" shortcut={shortcut('B')} onClick={toggleSidebar}>
            <PanelLeft size={18} aria-hidden />
          </IconButton>
          <IconButton label="New chat" shortcut={shortcut('N')} onClick={newChat}>
            <SquarePen size={17} aria-hidden />
          </IconButton>
        </>
      )}
      <HeaderTitle />
      <ModelPicker />
      <IconButton
        label={activityOpen ? 'Hide activations' : 'Show activations'}
        shortcut={shortcut('J')}
        aria-pressed={activityOpen}
        onClick={toggleActivity}
      >
        <Grid3x3 size={18} aria-hidden />
      </IconButton>
      <IconButton
        label={panelShown ? 'Hide chat settings' : 'Show chat settings'}
        shortcut={shortcut('.')}
        aria-pressed={panelShown}
        onClick={togglePanel}
      >
        <PanelRight size={18} aria-hidden />
      </IconButton>
    </header>
  );
}
