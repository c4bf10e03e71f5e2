import type { z } from 'zod';
import type { Chat, ChatSummary, Message, ReplyProvenance, ReplyStats } from '../contract/entities';
import { defaultSampling, samplingSchema } from '../contract/entities';
import { defaultSparsity, sparsitySchema } from '../contract/sparsity';

export interface ChatRow {
  seq: number;
  id: string;
  title: string;
  created_at: number;
  updated_at: number;
  system_prompt: string;
  sampling: string;
  sparsity: string;
  model_id: string | null;
  leaf_id: string | null;
  removed_at: number | null;
}

export interface MessageRow {
  seq: number;
  id: string;
  chat_id: string;
  parent_id: string | null;
  role: Message['role'];
  text: string;
  status: Message['status'];
  error_code: string | null;
  error_message: string | null;
  created_at: number;
  stats: string | null;
  provenance: string | null;
}

export function chatFromRow(row: ChatRow): Chat {
  return {
    id: row.id,
    title: row.title,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    systemPrompt: row.system_prompt,
    sampling: fitting(samplingSchema.shape, defaultSampling, row.sampling),
    sparsity: fitting(sparsitySchema.shape, defaultSparsity, row.sparsity),
    modelId: row.model_id,
    leafId: row.leaf_id,
  };
}

export function summaryFromRow(row: ChatRow): ChatSummary {
  return { id: row.id, title: row.title, createdAt: row.created_at, updatedAt: row.updated_at };
}

export function messageFromRow(row: MessageRow, siblings: string[]): Message {
  return {
    id: row.id,
    chatId: row.chat_id,
    parentId: row.parent_id,
    role: row.role,
    text: row.text,
    status: row.status,
    error: row.error_code === null ? null : { code: row.error_code, message: row.error_message ?? '' },
    createdAt: row.created_at,
    stats: parseJson<ReplyStats>(row.stats),
    provenance: parseJson<ReplyProvenance>(row.provenance),
    siblings,
  };
}

/** A chat stays readable when its settings do not fit (edited by hand, or a field added since): such keys get defaults. */
function fitting<T extends object>(shape: Record<keyof T, z.ZodType>, defaults: T, json: string): T {
  const stored = parseJson<Record<keyof T, unknown>>(json);
  const result = { ...defaults };
  for (const key of Object.keys(shape) as (keyof T)[]) {
    const parsed = shape[key].safeParse(stored?.[key]);
    if (parsed.success) result[key] = parsed.data as T[typeof key];
  }
  return result;
}

function parseJson<T>(json: string | null): T | null {
  if (json === null) return null;
  try {
    return JSON.parse(json) as T;
  } catch {
    return null;
  }
}
