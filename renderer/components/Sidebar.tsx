import { PanelLeft, Plus, Settings } from 'lucide-react';
import { useStore } from '../store/store';
import { ChatList } from './ChatList';
import { IconButton } from './IconButton';
import { Mark } from './Mark';
import { SearchField } from './SearchField';
import { shortcut } from '../lib/shortcut';
import css from './Sidebar.module.css';

export function Sidebar() {
  const newChat = useStore((s) => s.newChat);
  const toggleSidebar = useStore((s) => s.toggleSidebar);
  const setSettingsOpen = useStore((s) => s.setSettingsOpen);
  return (
    <div className={css.sidebar}>
      <div className={css.top}>
        <span className={css.brand}>
          <Mark size={20} />
          Hunch
        </span>
        <IconButton label="Hide sidebar" shortcut={shortcut('B')} onClick={toggleSidebar}>
          <PanelLeft size={18} aria-hidden />
        </IconButton>
      </div>
      <div className={css.actions}>
        <button type="button" className={css.newChat} onClick={newChat}>
          <Plus size={17} aria-hidden />
          New chat
          <kbd>{shortcut('N')}</kbd>
        </button>
        <SearchField />
      </div>
      <ChatList />
      <div className={css.bottom}>
        <button type="button" className={css.settings} onClick={() => setSettingsOpen(true)}>
          <Settings size={17} aria-hidden />
          Settings
          <kbd>{shortcut(',')}</kbd>
        </button>
      </div>
    </div>
  );
}
