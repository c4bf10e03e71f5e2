import { Tooltip } from 'radix-ui';
import type { MouseEvent } from 'react';
import css from './App.module.css';
import { ActivityPanel } from './components/activity/ActivityPanel';
import { Announcer } from './components/Announcer';
import { Composer } from './components/Composer';
import { Conversation } from './components/Conversation';
import { Drawer } from './components/Drawer';
import { EmptyState } from './components/EmptyState';
import { EngineBanner } from './components/EngineBanner';
import { Header } from './components/Header';
import { Notices } from './components/Notices';
import { Panel } from './components/Panel';
import { SettingsDialog } from './components/SettingsDialog';
import { Sidebar } from './components/Sidebar';
import { useKeyboard } from './lib/useKeyboard';
import { useNarrow } from './lib/useNarrow';
import { useTheme } from './lib/useTheme';
import { useStore } from './store/store';

export function App() {
  useTheme();
  useKeyboard();
  useNarrow();
  const ready = useStore((s) => s.settings !== null);
  const sidebarOpen = useStore((s) => s.settings?.sidebarOpen ?? true);
  const panelOpen = useStore((s) => s.settings?.panelOpen ?? false);
  const narrow = useStore((s) => s.narrow);
  const drawer = useStore((s) => s.drawer);
  const setDrawer = useStore((s) => s.setDrawer);
  const activeId = useStore((s) => s.activeId);
  const empty = useStore((s) => s.activeId === null || s.branches[s.activeId]?.length === 0);
  // Before the settings are known nothing is drawn that they might take away again.
  const sidebarShown = ready && !narrow && sidebarOpen;
  const panelShown = ready && !narrow && panelOpen;
  const activityOpen = useStore((s) => s.activityOpen);
  const activityFull = useStore((s) => s.activityFull && s.activityOpen);

  return (
    <Tooltip.Provider delayDuration={450}>
      <a href="#message" className={css.skip} onClick={skipTo}>
        Skip to the message field
      </a>
      <div className={css.app}>
        {sidebarShown && (
          <aside className={css.sidebar} aria-label="Sidebar">
            <Sidebar />
          </aside>
        )}
        <main className={css.main}>
          <Header sidebarShown={sidebarShown} panelShown={narrow ? drawer === 'panel' : panelShown} />
          {!activityFull &&
            (empty ? (
              !activityOpen && <EmptyState />
            ) : (
              <>
                <EngineBanner />
                {activeId && <Conversation key={activeId} chatId={activeId} />}
              </>
            ))}
          {activityOpen && <ActivityPanel />}
          <Composer />
          <Notices />
        </main>
        {panelShown && (
          <aside className={css.panel} aria-label="Chat settings">
            <Panel />
          </aside>
        )}
      </div>
      <Drawer open={narrow && drawer === 'sidebar'} side="left" title="Sidebar" onClose={() => setDrawer(null)}>
        <Sidebar />
      </Drawer>
      <Drawer open={narrow && drawer === 'panel'} side="right" title="Chat settings" onClose={() => setDrawer(null)}>
        <Panel />
      </Drawer>
      <SettingsDialog />
      <Announcer />
    </Tooltip.Provider>
  );
}

function skipTo(event: MouseEvent): void {
  event.preventDefault();
  useStore.getState().wishFocus('composer');
}
