import { z } from 'zod';
import type { GpuReport, Residency } from './devices';
import { activityInputs, type Lens, type NeuronRates, type ReplyActivity, type Rerun } from './activity';
import type {
  AppInfo,
  Chat,
  ChatSummary,
  ChatWithMessages,
  EngineStatus,
  Message,
  ModelSummary,
  Settings,
} from './entities';
import {
  chatTitleSchema,
  idSchema,
  messageTextSchema,
  modelIdSchema,
  samplingSchema,
  settingsSchema,
  systemPromptSchema,
} from './entities';
import { sparsitySchema, type SparsityState } from './sparsity';

/** A verb: what the renderer sends (checked in the main process) and what it gets back (typed). */
interface Verb<Input extends z.ZodType, Output> {
  input: Input;
  /** Only the type is used. */
  output?: Output;
}
const verb =
  <Output>() =>
  <Input extends z.ZodType>(input: Input): Verb<Input, Output> => ({ input });

const nothing = z.undefined();
const chatIdOnly = z.object({ chatId: idSchema }).strict();

/** What starting a reply answers: both messages are committed by then. The stream's port follows under `reply.id`. */
export interface ReplyStarted {
  /** The person's message; null when a reply is regenerated or continued. */
  user: Message | null;
  reply: Message;
}

/**
 * Every message the renderer may send to the main process: one line each, named `domain.verb`.
 * The router refuses whatever is not listed here, comes from a foreign frame or does not fit its schema.
 */
export const verbs = {
  'app.info': verb<AppInfo>()(nothing),
  /** Opens an https link in the person's browser after asking. */
  'app.openLink': verb<{ opened: boolean }>()(z.object({ url: z.string().url().max(4096) }).strict()),

  'settings.get': verb<Settings>()(nothing),
  'settings.set': verb<Settings>()(settingsSchema.partial().strict()),

  'models.list': verb<ModelSummary[]>()(nothing),
  /** Loads the model now and makes it the default. */
  'models.select': verb<EngineStatus>()(z.object({ modelId: modelIdSchema }).strict()),
  'models.download': verb<ModelSummary>()(z.object({ modelId: modelIdSchema }).strict()),
  'models.cancelDownload': verb<null>()(z.object({ modelId: modelIdSchema }).strict()),
  /** Asks for a .gguf with the system's dialog; null when the person cancels. */
  'models.import': verb<ModelSummary | null>()(nothing),

  'engine.status': verb<EngineStatus>()(nothing),
  'engine.restart': verb<EngineStatus>()(nothing),
  /** The NVIDIA GPUs of this computer. */
  'engine.gpus': verb<GpuReport>()(nothing),

  /** What the loaded model's slider has. */
  'sparsity.state': verb<SparsityState>()(nothing),
  /** Measures the loaded model, going on where an earlier run was cut off; answers when it is done (minutes). */
  'sparsity.calibrate': verb<SparsityState>()(nothing),
  /** Ends it; what is done so far is kept for the next one. Harmless when none runs. */
  'sparsity.cancelCalibration': verb<null>()(nothing),

  /** What the engine captures while it writes, from the next token on; the window asks again after a restart of the engine. */
  'activity.watch': verb<null>()(activityInputs.watch),
  /** A reply and the frames that were kept with it; frames are null where nothing was captured. Errors: not-found. */
  'activity.reply': verb<ReplyActivity>()(activityInputs.reply),
  /** Every neuron of one token: the bytes of a RecordFrame; null when the ring no longer (or never) held it. */
  'activity.record': verb<Uint8Array | null>()(activityInputs.record),
  /** One neuron over a source's tokens: h, NaN where it is not known. */
  'activity.neuron': verb<Float32Array>()(activityInputs.neuron),
  /** Of a source's tokens; null: of all tokens in the ring. */
  'activity.rates': verb<NeuronRates>()(activityInputs.rates),
  /** Runs a reply again, elsewhere on the slider or with edits. Minutes at most; one at a time. Errors: busy, not-found, cancelled. */
  'activity.rerun': verb<Rerun>()(activityInputs.rerun),
  'activity.cancelRerun': verb<null>()(nothing),
  'activity.lens': verb<Lens>()(activityInputs.lens),
  /** Where the loaded model's neurons lie; counters since the last call. Null without a model. */
  'activity.residency': verb<Residency | null>()(nothing),
  /** Asks where to; null when the person cancels. */
  'activity.save': verb<{ path: string } | null>()(activityInputs.save),
  /** Asks for a .hunchframes or .json file. */
  'activity.open': verb<{ name: string; bytes: Uint8Array } | null>()(nothing),

  'chats.list': verb<ChatSummary[]>()(nothing),
  'chats.search': verb<ChatSummary[]>()(z.object({ query: z.string().max(1000) }).strict()),
  'chats.create': verb<Chat>()(nothing),
  'chats.get': verb<ChatWithMessages>()(chatIdOnly),
  'chats.rename': verb<Chat>()(z.object({ chatId: idSchema, title: chatTitleSchema }).strict()),
  'chats.configure': verb<Chat>()(
    z
      .object({
        chatId: idSchema,
        systemPrompt: systemPromptSchema.optional(),
        sampling: samplingSchema.optional(),
        /** Also for the reply that is being written: from its next token on. */
        sparsity: sparsitySchema.optional(),
        modelId: modelIdSchema.nullable().optional(),
      })
      .strict(),
  ),
  /** Hides the chat; `chats.restore` brings it back until the app removes it for good at the next start. */
  'chats.remove': verb<null>()(chatIdOnly),
  'chats.restore': verb<Chat>()(chatIdOnly),
  /** Shows the branch that runs through this message (the ‹2/3› switcher). */
  'chats.showBranch': verb<ChatWithMessages>()(z.object({ chatId: idSchema, messageId: idSchema }).strict()),
  'chats.export': verb<{ path: string } | null>()(
    z.object({ chatId: idSchema, format: z.enum(['markdown', 'json']) }).strict(),
  ),

  /** Commits the person's message, then starts the reply. `messageId` makes a retry harmless. */
  'reply.start': verb<ReplyStarted>()(
    z
      .object({ chatId: idSchema, messageId: idSchema, parentId: idSchema.nullable(), text: messageTextSchema })
      .strict(),
  ),
  /** A sibling of an existing reply, from the same message. */
  'reply.regenerate': verb<ReplyStarted>()(z.object({ chatId: idSchema, messageId: idSchema }).strict()),
  /** Goes on where a stopped or interrupted reply ended, in the same message. */
  'reply.continue': verb<ReplyStarted>()(z.object({ chatId: idSchema, messageId: idSchema }).strict()),
  'reply.stop': verb<null>()(z.object({ messageId: idSchema }).strict()),
} satisfies Record<string, Verb<z.ZodType, unknown>>;

export type VerbName = keyof typeof verbs;
export type VerbInput<N extends VerbName> = z.infer<(typeof verbs)[N]['input']>;
export type VerbOutput<N extends VerbName> =
  NonNullable<(typeof verbs)[N]['output']> | Extract<(typeof verbs)[N]['output'], null>;

export { eventChannel, invokeChannel, replyPortChannel } from './channelNames';
