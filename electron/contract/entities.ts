import { z } from 'zod';
import { devices } from './devices';
import { sparsitySchema, type Sparsity } from './sparsity';

/** Sampling of one reply. The order in the engine: penalties, top-k, top-p, min-p, temperature, draw. */
export const samplingSchema = z.object({
  temperature: z.number().min(0).max(5), // 0 = greedy
  topK: z.number().int().min(0).max(1000), // 0 = off
  topP: z.number().min(0).max(1), // 1 = off
  minP: z.number().min(0).max(1), // 0 = off
  repeatPenalty: z.number().min(0.5).max(2), // 1 = off
  repeatLastN: z.number().int().min(0).max(4096), // tokens looked back at
  seed: z.number().int().min(0).max(0xffffffff).nullable(), // null = a fresh one for each reply
  maxTokens: z.number().int().min(1).max(131072),
});
export type Sampling = z.infer<typeof samplingSchema>;

export const defaultSampling: Sampling = {
  temperature: 0.7,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  repeatPenalty: 1.1,
  repeatLastN: 64,
  seed: null,
  maxTokens: 2048,
};

export const idSchema = z.string().uuid();
export const modelIdSchema = z.string().min(1).max(200);
export const systemPromptSchema = z.string().max(200_000);
export const chatTitleSchema = z.string().trim().min(1).max(200);
/** A person's message. The cap is far above any context; the context check gives the useful error. */
export const messageTextSchema = z.string().min(1).max(4_000_000);

export interface Chat {
  id: string;
  title: string;
  createdAt: number; // ms since epoch
  updatedAt: number;
  systemPrompt: string;
  sampling: Sampling;
  sparsity: Sparsity;
  /** null = the app's default model */
  modelId: string | null;
  /** The last message of the branch shown; null in an empty chat. */
  leafId: string | null;
}

export type ChatSummary = Pick<Chat, 'id' | 'title' | 'createdAt' | 'updatedAt'>;

export type MessageStatus =
  | 'streaming' // being written now
  | 'complete'
  | 'stopped' // the person pressed stop; the text so far is kept
  | 'interrupted' // the engine or the app died; the text so far is kept
  | 'failed'; // nothing or too little came; see `error`

/** Why a reply ended. `length`: maxTokens reached; `context`: the context is full. */
export type StopReason = 'end' | 'length' | 'context' | 'stopped';

export interface ReplyStats {
  promptTokens: number;
  cachedTokens: number; // of promptTokens, already in the KV cache
  generatedTokens: number;
  timeToFirstTokenMs: number;
  tokensPerSecond: number; // decode only
  stopReason: StopReason;
}

/** How a reply was made, so that it can be made again. */
export interface ReplyProvenance {
  modelId: string;
  modelName: string;
  sampling: Sampling & { seed: number };
  /**
   * What the engine did: a stop's name or '62 %', ' + correction' and ' + speculation' where they were on, and the places
   * in turn where it was moved while the reply was written ('balanced → fast').
   */
  sparsity: string;
}

/**
 * Messages form a tree (parentId), because regenerating and editing never overwrite: the other answers stay as siblings.
 */
export interface Message {
  id: string;
  chatId: string;
  parentId: string | null;
  role: 'user' | 'assistant';
  text: string;
  status: MessageStatus;
  error: { code: string; message: string } | null;
  createdAt: number;
  stats: ReplyStats | null;
  provenance: ReplyProvenance | null;
  /** Ids of all messages with the same parent and role, oldest first, this one included: the ‹2/3› switcher. */
  siblings: string[];
}

/** A chat with the branch that ends in its leaf, first message first. */
export interface ChatWithMessages extends Chat {
  messages: Message[];
}

export type ModelState = 'available' | 'downloading' | 'absent' | 'broken';

export interface ModelSummary {
  id: string; // catalogue id or, for imported files, a slug of the file name
  name: string; // 'SmolLM2 135M Instruct'
  fileName: string;
  sizeBytes: number;
  quantization: string; // 'Q4_1'
  license: string | null;
  state: ModelState;
  problem: string | null; // why it is broken
  source: 'catalogue' | 'imported';
}

export type EngineState = 'stopped' | 'starting' | 'loading' | 'ready' | 'crashed';

export interface EngineStatus {
  state: EngineState;
  modelId: string | null;
  modelName: string | null;
  contextLength: number | null;
  isa: string | null; // 'avx512'
  threads: number | null;
  device: string | null; // the GPU's name; null on the CPU
  deviceNote: string | null; // why no GPU is used although one might be
  loadProgress: number | null; // 0…1 while loading
  error: { code: string; message: string } | null;
}

export const settingsSchema = z.object({
  theme: z.enum(['system', 'light', 'dark']),
  threads: z.number().int().min(0).max(256), // 0 = one per physical core
  contextLength: z.number().int().min(256).max(131072),
  /** Where models run. */
  device: z.enum(devices),
  /** Of the GPU's memory, MB (2^20 bytes); null = what is free. */
  gpuBudgetMb: z.number().int().min(1).max(16_777_216).nullable(),
  /** Of main memory for a model's weights, MB; null = all of them are kept. */
  memoryBudgetMb: z.number().int().min(1).max(16_777_216).nullable(),
  defaultModelId: modelIdSchema,
  defaultSystemPrompt: systemPromptSchema,
  defaultSampling: samplingSchema,
  defaultSparsity: sparsitySchema,
  sidebarOpen: z.boolean(),
  panelOpen: z.boolean(),
  /** The engine's ring of records (every neuron of a token), on disk; 0 = none. */
  activityRingMb: z.number().int().min(0).max(65_536),
  /** Frames kept with messages, all chats together; the oldest go first. 0 = none are kept. */
  activityKeepMb: z.number().int().min(0).max(65_536),
  /** Every so many tokens the engine also looks at what it skipped; 0 = never. */
  activityAuditEvery: z.number().int().min(0).max(10_000),
});
export type Settings = z.infer<typeof settingsSchema>;

export interface AppInfo {
  version: string;
  electron: string;
  chromium: string;
  node: string;
  platform: string;
  dataFolder: string;
  modelsFolder: string;
}
