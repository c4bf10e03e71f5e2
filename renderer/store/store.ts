import { create } from 'zustand';
import type { StateCreator } from 'zustand';
import { createActivityFilesSlice } from './activityFilesSlice';
import type { ActivityFilesSlice } from './activityFilesSlice';
import { createActivityRunsSlice } from './activityRunsSlice';
import type { ActivityRunsSlice } from './activityRunsSlice';
import { createActivitySlice } from './activitySlice';
import type { ActivitySlice } from './activitySlice';
import { createChatsSlice } from './chatsSlice';
import type { ChatsSlice } from './chatsSlice';
import { createDevicesSlice } from './devicesSlice';
import type { DevicesSlice } from './devicesSlice';
import { createDraftsSlice } from './draftsSlice';
import type { DraftsSlice } from './draftsSlice';
import { createMessagesSlice } from './messagesSlice';
import type { MessagesSlice } from './messagesSlice';
import { createModelsSlice } from './modelsSlice';
import type { ModelsSlice } from './modelsSlice';
import { createNoticesSlice } from './noticesSlice';
import type { NoticesSlice } from './noticesSlice';
import { createRepliesSlice } from './repliesSlice';
import type { RepliesSlice } from './repliesSlice';
import { createSettingsSlice } from './settingsSlice';
import type { SettingsSlice } from './settingsSlice';
import { createSparsitySlice } from './sparsitySlice';
import type { SparsitySlice } from './sparsitySlice';
import { createUiSlice } from './uiSlice';
import type { UiSlice } from './uiSlice';

export type Store = ActivityFilesSlice &
  ActivityRunsSlice &
  ActivitySlice &
  ChatsSlice &
  DevicesSlice &
  DraftsSlice &
  MessagesSlice &
  ModelsSlice &
  NoticesSlice &
  RepliesSlice &
  SettingsSlice &
  SparsitySlice &
  UiSlice;

/** A slice sees the whole store and adds its own part. */
export type Slice<T> = StateCreator<Store, [], [], T>;

export const useStore = create<Store>()((...a) => ({
  ...createActivityFilesSlice(...a),
  ...createActivityRunsSlice(...a),
  ...createActivitySlice(...a),
  ...createChatsSlice(...a),
  ...createDevicesSlice(...a),
  ...createDraftsSlice(...a),
  ...createMessagesSlice(...a),
  ...createModelsSlice(...a),
  ...createNoticesSlice(...a),
  ...createRepliesSlice(...a),
  ...createSettingsSlice(...a),
  ...createSparsitySlice(...a),
  ...createUiSlice(...a),
}));
