import { z } from 'zod';
import { samplingSchema } from '../contract/entities';
import { errorCodes } from '../contract/errors';

/**
 * What the main process and the engine process say to each other: plain data, checked on both sides. A reply's id ties
 * its messages together; `loadId` tells an answer to an older load from the one that is waited for.
 */
const errorSchema = z.object({ code: z.enum(errorCodes), message: z.string() });

export const toWorkerSchema = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('load'),
    loadId: z.number().int(),
    path: z.string().min(1),
    threads: z.number().int().min(0),
    contextLength: z.number().int().positive(),
  }),
  z.object({
    type: z.literal('reply'),
    replyId: z.string().min(1),
    request: z.object({
      chatKey: z.string().min(1),
      systemPrompt: z.string(),
      messages: z.array(z.object({ role: z.enum(['user', 'assistant']), text: z.string() })).min(1),
      sampling: samplingSchema,
      continueText: z.string().optional(),
    }),
  }),
  z.object({ type: z.literal('stop'), replyId: z.string().min(1) }),
  z.object({ type: z.literal('forget'), chatKey: z.string().min(1) }),
]);
export type ToWorker = z.infer<typeof toWorkerSchema>;

const runtimeInfoSchema = z.object({
  path: z.string(),
  name: z.string(),
  architecture: z.string(),
  quantization: z.string(),
  contextLength: z.number(),
  trainedContext: z.number(),
  parameterCount: z.number(),
  weightBytesPerToken: z.number(),
  isa: z.enum(['scalar', 'avx2', 'avx512', 'neon']),
  threads: z.number(),
  loadMs: z.number(),
});

const statsSchema = z.object({
  promptTokens: z.number(),
  cachedTokens: z.number(),
  generatedTokens: z.number(),
  timeToFirstTokenMs: z.number(),
  tokensPerSecond: z.number(),
  stopReason: z.enum(['end', 'length', 'context', 'stopped']),
});

export const fromWorkerSchema = z.discriminatedUnion('type', [
  /** The process is up and listens. */
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('loading'), loadId: z.number(), fraction: z.number() }),
  z.object({ type: z.literal('loaded'), loadId: z.number(), info: runtimeInfoSchema }),
  z.object({ type: z.literal('load-failed'), loadId: z.number(), error: errorSchema }),
  z.object({ type: z.literal('prefill'), replyId: z.string(), done: z.number(), total: z.number() }),
  z.object({
    type: z.literal('text'),
    replyId: z.string(),
    text: z.string(),
    tokens: z.number(),
    tokensPerSecond: z.number(),
  }),
  z.object({ type: z.literal('ended'), replyId: z.string(), stats: statsSchema, seed: z.number() }),
  z.object({ type: z.literal('failed'), replyId: z.string(), error: errorSchema }),
  /** A message that did not fit the schema above: a bug, worth a line in the log. */
  z.object({ type: z.literal('refused'), reason: z.string() }),
]);
export type FromWorker = z.infer<typeof fromWorkerSchema>;
