import { z } from 'zod';
import { captureSchema, rerunSchema } from '../contract/activity';
import { gpuReportSchema, residencySchema } from '../contract/devices';
import { samplingSchema } from '../contract/entities';
import { sparsitySchema } from '../contract/sparsity';

/** What the main process asks the engine's process about activations and devices (protocol.ts carries it), and what comes back. */

const bytesSchema = z.custom<Uint8Array>((value) => value instanceof Uint8Array);
const floatsSchema = z.custom<Float32Array>((value) => value instanceof Float32Array);
const token = z.object({ id: z.number().int(), text: z.string() });
const tokenIds = z.array(z.number().int());
const index = z.number().int().min(0);

/** Tokens [from, from + tokens.length) of a run, with their summaries. */
export const framesSchema = z.object({
  type: z.literal('frames'),
  from: index,
  tokens: z.array(token),
  frames: z.array(bytesSchema.nullable()),
  whole: z.boolean(),
});

/** Where records go: a file of at most `bytes`; 0 = nowhere. */
export const ringSchema = z.object({ path: z.string().min(1), bytes: z.number().int().min(0) });
export type Ring = z.infer<typeof ringSchema>;

export const captureMessageSchema = z.object({ type: z.literal('capture'), capture: captureSchema, ring: ringSchema });

/** A reply as the database has it: what it answers, its text, and its tokens where they were kept (else fewer). */
const writtenSchema = z.object({
  systemPrompt: z.string(),
  messages: z.array(z.object({ role: z.enum(['user', 'assistant']), text: z.string() })).min(1),
  text: z.string(),
  tokens: tokenIds,
});
export type Written = z.infer<typeof writtenSchema>;

export const askSchema = z.discriminatedUnion('kind', [
  /** `source`: a reply's id or a run's. */
  z.object({ kind: z.literal('record'), source: z.string().min(1), index }),
  z.object({ kind: z.literal('neuron'), source: z.string().min(1), layer: index, neuron: index }),
  z.object({ kind: z.literal('rates'), source: z.string().min(1).nullable() }),
  /** `written`: null for a run, which only the engine knows. */
  z.object({ kind: z.literal('lens'), source: z.string().min(1), index, written: writtenSchema.nullable() }),
  z.object({
    kind: z.literal('rerun'),
    runId: z.string().min(1),
    source: z.string().min(1),
    written: writtenSchema,
    sampling: samplingSchema,
    sparsity: sparsitySchema,
    ...rerunSchema.pick({ mode: true, edits: true, auditEvery: true, maxTokens: true }).shape,
  }),
  /** SHA-256 of the loaded model's file. */
  z.object({ kind: z.literal('hash') }),
  z.object({ kind: z.literal('residency') }),
  /** The one question that needs no model. */
  z.object({ kind: z.literal('gpus') }),
]);
export type Ask = z.infer<typeof askSchema>;
export type AskOf<K extends Ask['kind']> = Extract<Ask, { kind: K }>;

const ratesSchema = z.object({
  tokens: z.number(),
  layers: z.number(),
  neurons: z.number(),
  active: z.custom<Uint32Array>((value) => value instanceof Uint32Array),
});

export const answerSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('record'), record: bytesSchema.nullable() }),
  /** h of each of the source's tokens, NaN where it is not known; null: the engine does not know the source. */
  z.object({ kind: z.literal('neuron'), values: floatsSchema.nullable() }),
  z.object({ kind: z.literal('rates'), rates: ratesSchema }),
  z.object({
    kind: z.literal('lens'),
    layers: z.array(z.array(z.object({ id: z.number(), text: z.string(), probability: z.number() }))),
  }),
  z.object({
    kind: z.literal('rerun'),
    tokens: z.array(token),
    frames: z.array(bytesSchema.nullable()),
    /** The place, as a reply's provenance names it. */
    sparsity: z.string(),
    seed: z.number(),
    text: z.string(),
    tokensPerSecond: z.number(),
    surprise: floatsSchema,
    kl: z.number().nullable(),
    modelHash: z.string(),
  }),
  z.object({ kind: z.literal('hash'), sha256: z.string() }),
  z.object({ kind: z.literal('residency'), residency: residencySchema }),
  z.object({ kind: z.literal('gpus'), report: gpuReportSchema }),
]);
export type Answer = z.infer<typeof answerSchema>;
export type AnswerOf<K extends Ask['kind']> = Extract<Answer, { kind: K }>;
