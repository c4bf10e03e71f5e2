import { z } from 'zod';
import { idSchema } from './entities';

/**
 * What the activation panel asks for. A token's frame (contract/frames.ts) is that of the decode step whose logits it was drawn from: the step
 * that read the token before it. The first token of a reply comes out of the prefill and has none.
 */

export const captureModes = ['off', 'summary', 'full'] as const;
/** summary: a frame per token; full: also a record of every neuron in the engine's ring. */
export type CaptureMode = (typeof captureModes)[number];

export const captureSchema = z
  .object({
    mode: z.enum(captureModes),
    /** Every so many tokens the engine also looks at what it skipped; 0 = never. */
    auditEvery: z.number().int().min(0).max(10_000),
  })
  .strict();
export type Capture = z.infer<typeof captureSchema>;

/** Neurons: h = act(gate) · up becomes 0, at most |value|, or value. Heads: the same of the norm of what the head attended to. */
export const editSchema = z
  .object({
    kind: z.enum(['neuron', 'head']),
    layer: z.number().int().min(0).max(4095),
    index: z.number().int().min(0).max(0xff_ffff),
    action: z.enum(['off', 'clamp', 'force']),
    /** Ignored by `off`. */
    value: z.number().finite(),
  })
  .strict();
export type Edit = z.infer<typeof editSchema>;

export interface ActivityToken {
  id: number;
  /** The token alone; '\uFFFD' where it is a part of a character. */
  text: string;
}

/** Most tokens of a reply that one answer of `activity.reply` carries. */
export const maxReplyChunk = 1024;

/** A part of a reply with its frames; index by index, the first being token `from` of `total`. */
export interface ReplyActivity {
  messageId: string;
  from: number;
  /** Tokens of the whole reply. */
  total: number;
  tokens: ActivityToken[];
  frames: (Uint8Array | null)[];
  /** As the reply's provenance has it: the place of the slider, or places. */
  sparsity: string;
  /** sha256 of the model's file, its name, the seed and the version of Hunch that wrote it. */
  modelHash: string;
  modelName: string;
  seed: number;
  version: string;
}

/** How often each neuron was active, of the tokens whose records are there. */
export interface NeuronRates {
  tokens: number;
  layers: number;
  neurons: number;
  /** [layers][neurons] tokens in which it was active. */
  active: Uint32Array;
}

export const rerunSchema = z
  .object({
    /** The reply whose prompt, sampling and seed are used. */
    messageId: idSchema,
    /** Place of the slider; null: where the reply was made. */
    position: z.number().min(0).max(1).nullable(),
    /** follow: the reply's own tokens, whatever would be drawn; write: tokens are drawn anew. */
    mode: z.enum(['follow', 'write']),
    edits: z.array(editSchema).max(256),
    auditEvery: z.number().int().min(0).max(10_000),
    /** Tokens at most; null: as many as the reply has (follow) or may have (write). */
    maxTokens: z.number().int().min(1).max(8192).nullable(),
  })
  .strict();
export type RerunRequest = z.infer<typeof rerunSchema>;

/** A reply run again in a cache of its own; the chat is not touched. */
export interface Rerun {
  /** Names this run for `activity.record` and `activity.neuron`, in place of a message's id. */
  runId: string;
  activity: ReplyActivity;
  text: string;
  tokensPerSecond: number; // decode only
  /** −ln p of each token, nats. */
  surprise: Float32Array;
  /** Mean KL(dense ‖ this place) on these tokens, nats; 0 at dense without edits; null with edits. */
  kl: number | null;
}

/** Next-token guesses of every layer: the residual stream after it through the final norm and the output head (raw logit lens). */
export interface Lens {
  /** [layers][top], likeliest first. */
  layers: { id: number; text: string; probability: number }[][];
}

const sourceSchema = z.object({ source: idSchema, index: z.number().int().min(0) }).strict();
export const activityInputs = {
  watch: captureSchema,
  /** Tokens [from, from + count); by default the first `maxReplyChunk`. A count of 0 asks for the provenance alone. */
  reply: z
    .object({
      messageId: idSchema,
      from: z.number().int().min(0).optional(),
      count: z.number().int().min(0).max(maxReplyChunk).optional(),
    })
    .strict(),
  /** `source`: a message's id or a run's. */
  record: sourceSchema,
  neuron: z
    .object({
      source: idSchema,
      layer: z.number().int().min(0).max(4095),
      neuron: z.number().int().min(0).max(0xff_ffff),
    })
    .strict(),
  rates: z.object({ source: idSchema.nullable() }).strict(),
  rerun: rerunSchema,
  lens: sourceSchema,
  save: z
    .object({
      name: z.string().min(1).max(120),
      extension: z.enum(['png', 'svg', 'csv', 'json', 'hunchframes']),
      bytes: z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.byteLength <= 2 ** 28),
    })
    .strict(),
};
