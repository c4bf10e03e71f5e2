import type { ChatSummary, EngineStatus, ModelSummary, Settings } from './entities';
import type { ErrorBody } from './errors';
import type { SparsityState } from './sparsity';

/** Broadcasts from the main process: state that changed without the renderer asking. */
export type AppEvent =
  | { type: 'engine'; status: EngineStatus }
  | { type: 'sparsity'; state: SparsityState }
  | { type: 'chats'; chats: ChatSummary[] }
  | { type: 'models'; models: ModelSummary[] }
  | { type: 'download'; modelId: string; receivedBytes: number; totalBytes: number; source: string }
  | { type: 'settings'; settings: Settings }
  /** Frames are no longer kept with messages, and why (the disk is full); told once. Replies go on. */
  | { type: 'activity'; problem: ErrorBody }
  | { type: 'command'; command: AppCommand };

/** Menu items and accelerators that act in the renderer. */
export type AppCommand =
  'new-chat' | 'toggle-sidebar' | 'toggle-panel' | 'toggle-activity' | 'open-settings' | 'stop' | 'search';
