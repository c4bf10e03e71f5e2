import { rmSync } from 'node:fs';
import path from 'node:path';
import { ActivityStore } from './chats/activityStore';
import { closeDatabase, openDatabase } from './chats/database';
import { KeptActivity } from './chats/keptActivity';
import { Replies, type ReplyStream } from './chats/replies';
import { ChatStore } from './chats/store';
import type { AppInfo, Settings } from './contract/entities';
import { HunchError, type ErrorBody } from './contract/errors';
import type { AppEvent } from './contract/events';
import { EngineHost, type LoadSettings, type ModelFile } from './engine/host';
import type { ForkEngine } from './engine/transport';
import { activityHandlers, type ActivityDependencies } from './ipc/activity';
import { appHandlers, type AppDependencies } from './ipc/app';
import { chatHandlers, type ChatDependencies } from './ipc/chats';
import type { Handlers } from './ipc/dispatch';
import { engineHandlers } from './ipc/engine';
import { modelHandlers, type ModelDependencies } from './ipc/models';
import { replyHandlers } from './ipc/reply';
import { settingsHandlers } from './ipc/settings';
import { sparsityHandlers } from './ipc/sparsity';
import { ModelLibrary } from './models/library';
import { SettingsFile } from './settings';

/** What only the desktop shell can do; the services are plain Node and know nothing else of it. */
export interface Shell {
  info: AppInfo;
  fork: ForkEngine;
  broadcast(event: AppEvent): void;
  openStream(replyId: string): ReplyStream;
  applyTheme(theme: Settings['theme']): void;
  askModelFile: ModelDependencies['askModelFile'];
  askSavePath: ActivityDependencies['askSavePath'] & ChatDependencies['askSavePath'];
  askActivityFile: ActivityDependencies['askActivityFile'];
  confirmLink: AppDependencies['confirmLink'];
  openExternal: AppDependencies['openExternal'];
  log(line: string): void;
}

export interface Services {
  handlers: Handlers;
  settings: SettingsFile;
  engine: EngineHost;
  /** Things to tell the person about this start. */
  notices: ErrorBody[];
  /** The page is gone or loads anew: what it watched is not watched any more. */
  pageGone(): void;
  /** Loads the default model; the engine's status says how it went. */
  begin(): void;
  /** Commits what is being written and ends the engine. */
  close(): void;
}

/** Makes every service once and wires them. Errors: database-newer, disk-full, internal (the folder cannot be used). */
export function createServices(shell: Shell): Services {
  const { info, log } = shell;
  const settings = new SettingsFile(path.join(info.dataFolder, 'settings.json'));
  const databasePath = path.join(info.dataFolder, 'hunch.db');
  const { db, notice } = openDatabase(databasePath);
  const store = new ChatStore(db, databasePath);
  store.settle();

  const frames = new ActivityStore(db, databasePath, () => settings.get().activityKeepMb * 2 ** 20);
  const ringPath = path.join(info.dataFolder, 'activity.ring');
  removeRing(ringPath); // of a start that ended in a crash

  const library = new ModelLibrary(info.modelsFolder);
  const modelNames = new Map<string, string>();
  const broadcast = (event: AppEvent): void => {
    if (event.type === 'models') for (const { id, name } of event.models) modelNames.set(id, name);
    shell.broadcast(event);
  };
  const onChatsChanged = (): void => broadcast({ type: 'chats', chats: store.list() });

  const engine = new EngineHost({
    fork: shell.fork,
    findModel: (id) => findModel(library, id),
    settings: () => loadSettings(settings.get()),
    ring: () => ({ path: ringPath, bytes: settings.get().activityRingMb * 2 ** 20 }),
    onStatus: (status) => broadcast({ type: 'engine', status }),
    onSparsity: (state) => broadcast({ type: 'sparsity', state }),
    log,
  });
  const kept = new KeptActivity({
    store: frames,
    version: info.version,
    modelHash: async (modelId) => {
      const { sha256 } = await engine.ask<'hash'>({ kind: 'hash' });
      return engine.status.modelId === modelId ? sha256 : '';
    },
    onProblem: (problem) => broadcast({ type: 'activity', problem }),
    log,
  });
  const replies = new Replies({
    store,
    engine,
    activity: kept,
    defaultModelId: () => settings.get().defaultModelId,
    modelName: (id) => modelNames.get(id) ?? id,
    openStream: shell.openStream,
    onChatsChanged,
    log,
  });

  /** The engine's status tells how it went; nobody else waits for it. */
  const load = (modelId: string): void =>
    void engine.select(modelId).catch((error: unknown) => log(`engine: ${modelId} not loaded: ${String(error)}`));

  const onSettings = (after: Settings, before: Settings): void => {
    broadcast({ type: 'settings', settings: after });
    if (after.theme !== before.theme) shell.applyTheme(after.theme);
    const [now, then] = [loadSettings(after), loadSettings(before)];
    const reload = (Object.keys(now) as (keyof LoadSettings)[]).some((key) => now[key] !== then[key]);
    if (after.activityRingMb !== before.activityRingMb) engine.activity.tell();
    if (reload && engine.status.modelId !== null) load(engine.status.modelId);
  };
  const makeDefault = (defaultModelId: string): void => {
    const before = settings.get();
    onSettings(settings.set({ defaultModelId }), before);
  };

  return {
    settings,
    engine,
    notices: [...(notice ? [notice] : []), ...settings.notices],
    handlers: {
      ...appHandlers(shell),
      ...settingsHandlers({ settings, onChanged: onSettings }),
      ...modelHandlers({ library, engine, makeDefault, broadcast, askModelFile: shell.askModelFile, log }),
      ...engineHandlers(engine),
      ...sparsityHandlers(engine.sparsity),
      ...chatHandlers({
        store,
        replies,
        settings: () => settings.get(),
        onChanged: onChatsChanged,
        forget: (chatId) => engine.forget(chatId),
        setSparsity: (chatId, sparsity) => engine.setSparsity(chatId, sparsity),
        askSavePath: shell.askSavePath,
      }),
      ...replyHandlers(replies),
      ...activityHandlers({
        ...{ store, replies, kept, origins: frames, engine, version: info.version },
        askSavePath: shell.askSavePath,
        askActivityFile: shell.askActivityFile,
      }),
    },
    pageGone: () => engine.activity.watch({ mode: 'off', auditEvery: 0 }),
    begin: () => {
      load(settings.get().defaultModelId);
      library.list().then(
        (models) => broadcast({ type: 'models', models }),
        (error: unknown) => log(`models: ${String(error)}`),
      );
    },
    close: () => {
      replies.interruptAll();
      engine.close();
      frames.close();
      closeDatabase(db);
      removeRing(ringPath);
    },
  };
}

function loadSettings(settings: Settings): LoadSettings {
  const { threads, contextLength, device, gpuBudgetMb, memoryBudgetMb } = settings;
  const gpuBudget = device === 'cpu' ? 0 : (gpuBudgetMb ?? 0) * 2 ** 20;
  return { threads, contextLength, device, gpuBudget, memoryBudget: (memoryBudgetMb ?? 0) * 2 ** 20 };
}

/** What the engine did not remove because it was killed. */
function removeRing(file: string): void {
  try {
    rmSync(file, { force: true });
  } catch {
    // Still held by the dying process; the next start's engine replaces it.
  }
}

/** Only models of the library: the window names ids, never paths. */
async function findModel(library: ModelLibrary, id: string): Promise<ModelFile> {
  if ((await library.list()).some((model) => model.id === id)) return library.resolve(id);
  throw new HunchError('not-found', `The model “${id}” is not in the models folder any more. Choose another one.`);
}
