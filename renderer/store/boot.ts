import { HunchError } from '../../electron/contract/errors';
import type { AppCommand, AppEvent } from '../../electron/contract/events';
import { api } from '../api';
import { runCommand } from '../lib/commands';
import { useStore } from './store';

function receive(event: AppEvent): void {
  const s = useStore.getState();
  switch (event.type) {
    case 'engine':
      // A new engine captures nothing until it is told to.
      if (event.status.state === 'ready' && s.engine?.state !== 'ready') s.sendCapture();
      return s.receiveEngine(event.status);
    case 'chats':
      return s.receiveChats(event.chats);
    case 'sparsity':
      return s.receiveSparsity(event.state);
    case 'models':
      return s.receiveModels(event.models);
    case 'download':
      return s.receiveDownload(event.modelId, event);
    case 'settings':
      return s.receiveSettings(event.settings);
    case 'activity':
      return s.report(new HunchError(event.problem.code, event.problem.message));
    case 'command':
      return runCommand(event.command satisfies AppCommand, 'menu');
  }
}

/** Subscribes to broadcasts first, then asks for everything once; one part that fails does not hold up the others. */
export async function boot(): Promise<void> {
  api.onEvent(receive);
  window.addEventListener('pagehide', () => void useStore.getState().flushConfigure());
  const { report, receiveChats, receiveModels } = useStore.getState();
  await Promise.all([
    api.settings.get().then((settings) => useStore.setState({ settings }), report),
    api.engine.status().then((engine) => useStore.setState({ engine }), report),
    api.sparsity.state().then((sparsity) => useStore.setState({ sparsity }), report),
    api.models.list().then(receiveModels, report),
    api.chats.list().then(receiveChats, report),
    api.app.info().then((appInfo) => useStore.setState({ appInfo }), report),
  ]);
}
