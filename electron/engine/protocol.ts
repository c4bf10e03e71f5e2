import { z } from 'zod';
import { devices } from '../contract/devices';
import { samplingSchema } from '../contract/entities';
import { errorCodes } from '../contract/errors';
import { calibrationPhases, sparsitySchema, stopNames } from '../contract/sparsity';
import { answerSchema, askSchema, captureMessageSchema, framesSchema } from './activityProtocol';

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
    packFolder: z.string().min(1).optional(),
    device: z.enum(devices),
    gpuBudget: z.number().int().min(0),
    memoryBudget: z.number().int().min(0),
  }),
  z.object({
    type: z.literal('reply'),
    replyId: z.string().min(1),
    request: z.object({
      chatKey: z.string().min(1),
      systemPrompt: z.string(),
      messages: z.array(z.object({ role: z.enum(['user', 'assistant']), text: z.string() })).min(1),
      sampling: samplingSchema,
      sparsity: sparsitySchema.optional(),
      continueText: z.string().optional(),
      firstToken: z.number().int().min(0).optional(),
    }),
  }),
  z.object({ type: z.literal('stop'), replyId: z.string().min(1) }),
  z.object({ type: z.literal('forget'), chatKey: z.string().min(1) }),
  /** For the chat's reply that runs or waits, from its next token on. */
  z.object({ type: z.literal('sparsity'), chatKey: z.string().min(1), sparsity: sparsitySchema }),
  z.object({ type: z.literal('calibrate') }),
  z.object({ type: z.literal('cancel-calibrate') }),
  /** For all replies, from their next token on, and for models loaded later. */
  captureMessageSchema,
  z.object({ type: z.literal('ask'), askId: z.number().int(), ask: askSchema }),
  z.object({ type: z.literal('cancel-rerun') }),
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
  device: z.string(),
  deviceNote: z.string(),
  gpuBytes: z.number(),
});

const statsSchema = z.object({
  promptTokens: z.number(),
  cachedTokens: z.number(),
  generatedTokens: z.number(),
  timeToFirstTokenMs: z.number(),
  tokensPerSecond: z.number(),
  stopReason: z.enum(['end', 'length', 'context', 'stopped']),
});

const sparsityStateSchema = z.object({
  stops: z.array(z.enum(stopNames)),
  frontier: z.array(
    z.object({
      stop: z.enum(stopNames),
      tokensPerSecond: z.number(),
      speedup: z.number(),
      perplexityRatio: z.number(),
      kl: z.number(),
      agreement: z.number(),
      density: z.number(),
      bytesPerToken: z.number(),
      corrected: z.object({ tokensPerSecond: z.number(), speedup: z.number(), perplexityRatio: z.number() }).optional(),
    }),
  ),
  measured: z.object({ date: z.string(), machine: z.string(), text: z.string(), tokens: z.number() }).nullable(),
  problem: z.string().nullable(),
});
/** The part of SparsityState that the engine's process knows. */
export type EngineSparsity = z.infer<typeof sparsityStateSchema>;

export const fromWorkerSchema = z.discriminatedUnion('type', [
  /** The process is up and listens. */
  z.object({ type: z.literal('ready') }),
  z.object({ type: z.literal('loading'), loadId: z.number(), fraction: z.number() }),
  z.object({ type: z.literal('loaded'), loadId: z.number(), info: runtimeInfoSchema, sparsity: sparsityStateSchema }),
  z.object({ type: z.literal('load-failed'), loadId: z.number(), error: errorSchema }),
  z.object({ type: z.literal('prefill'), replyId: z.string(), done: z.number(), total: z.number() }),
  z.object({
    type: z.literal('text'),
    replyId: z.string(),
    text: z.string(),
    tokens: z.number(),
    tokensPerSecond: z.number(),
  }),
  framesSchema.extend({ replyId: z.string() }),
  /** The places at which the reply was written so far. */
  z.object({ type: z.literal('sparsity'), replyId: z.string(), made: z.string() }),
  z.object({ type: z.literal('ended'), replyId: z.string(), stats: statsSchema, seed: z.number() }),
  z.object({ type: z.literal('failed'), replyId: z.string(), error: errorSchema }),
  /** The loaded model has other stops or figures now. */
  z.object({ type: z.literal('sparsity-state'), state: sparsityStateSchema }),
  z.object({
    type: z.literal('calibration'),
    status: z.object({ phase: z.enum(calibrationPhases), fraction: z.number(), detail: z.string() }),
  }),
  z.object({ type: z.literal('calibrated') }),
  z.object({ type: z.literal('calibration-failed'), error: errorSchema }),
  z.object({ type: z.literal('answered'), askId: z.number(), answer: answerSchema }),
  z.object({ type: z.literal('ask-failed'), askId: z.number(), error: errorSchema }),
  /** A message that did not fit the schema above: a bug, worth a line in the log. */
  z.object({ type: z.literal('refused'), reason: z.string() }),
]);
export type FromWorker = z.infer<typeof fromWorkerSchema>;
