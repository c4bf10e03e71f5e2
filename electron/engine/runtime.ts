import { randomInt } from 'node:crypto';
import type { Device } from '../contract/devices';
import type { ReplyStats, Sampling } from '../contract/entities';
import { HunchError } from '../contract/errors';
import type { Sparsity } from '../contract/sparsity';
import type { ModelFile } from '../models/gguf';
import { readModelFile } from '../models/gguf';
import { PromptEncoder } from '../models/prompt';
import { ChatTemplate } from '../models/template';
import { Tokenizer } from '../models/tokenizer';
import type { FramesProgress } from './activityTrail';
import type { GenerateOptions, GenerateResult, Isa, ModelSpec, NativeAddon, NativeModel, NativeSession } from './addon';
import { frequenciesOf } from '../sparsity/pack';
import type { ChatSession } from './chatSessions';
import { ChatSessions } from './chatSessions';
import { useFilePlans } from './fileSource';
import { ModelActivity } from './modelActivity';
import { packTarget, readPack, whereItsPackLies } from './modelPack';
import { ModelSparsity } from './modelSparsity';
import { loadAddon } from './native';
import { fromNative } from './nativeError';
import { ReplyText } from './replyText';
import { SparsityTrail } from './sparsityTrail';

/** A finished turn of the branch that is replied to. The system prompt travels apart. */
export interface ChatTurn {
  role: 'user' | 'assistant';
  text: string;
}

export interface RuntimeOptions {
  /** 0 (default) = one per physical core. */
  threads?: number;
  /** Tokens of prompt and reply together; cut down to what the model was trained for. Default 4096. */
  contextLength?: number;
  /** Default: the best this CPU has. */
  isa?: Isa;
  /** LoadOptions.device; default: cpu. */
  device?: Device;
  /** LoadOptions.gpuBudget and .memoryBudget, bytes; default: 0, no limit. */
  gpuBudget?: number;
  memoryBudget?: number;
  /** LoadOptions.byNeuron; default: where there is a pack, whose plans may skip. */
  byNeuron?: boolean;
  /** Where the model's packs are written, and looked for first; default: its own folder. */
  packFolder?: string | undefined;
  /** 0…1 while the weights are read. */
  onProgress?: (fraction: number) => void;
  /** Default: the addon that engine/native.ts finds. */
  addon?: NativeAddon;
}

/** What is loaded; plain data, may cross a process boundary. */
export interface RuntimeInfo {
  path: string;
  name: string; // general.name of the file, else the file's name
  architecture: string;
  quantization: string; // 'Q4_1'
  contextLength: number;
  trainedContext: number;
  parameterCount: number;
  /** Bytes of weights that one decoded token reads. */
  weightBytesPerToken: number;
  isa: Isa;
  threads: number;
  loadMs: number;
  device: string; // ModelInfo.device: the GPU's name; empty on the CPU
  deviceNote: string;
  gpuBytes: number;
}

export interface ReplyRequest {
  /** Whose KV cache to use (a chat's id). One reply at a time per key; another one is refused as `busy`. */
  chatKey: string;
  systemPrompt: string; // '' = none
  /** The branch, oldest first, ending with the person's message. */
  messages: ChatTurn[];
  sampling: Sampling;
  /** Default: dense. */
  sparsity?: Sparsity;
  /** The assistant message's text so far: the reply goes on after it (events carry only what is new). */
  continueText?: string;
  /** What the reply's tokens are asked for by later (a message's id). Default: the chat's key. */
  source?: string;
  /** Index in the message of the first token that is written now. Default: 0. */
  firstToken?: number;
}

/** In order: `prefill` any number of times, then `text`, `frames` and, where its value is new, `sparsity`. */
export type ReplyProgress =
  | { type: 'prefill'; done: number; total: number } // prompt tokens
  | { type: 'text'; text: string; tokens: number; tokensPerSecond: number } // text to append; totals of this run so far
  | FramesProgress // while activity is watched, after the text of its tokens
  | { type: 'sparsity'; made: string }; // ReplyProvenance.sparsity of this run so far

export interface ReplyResult {
  /** All new text: the concatenation of the `text` events. */
  text: string;
  stats: ReplyStats;
  /** The seed used (sampling.seed, or the fresh one where that was null). */
  seed: number;
  /** As the last `sparsity` event has it. */
  sparsity: string;
}

export interface RunningReply {
  /** Settles once no further event will come; rejects with a HunchError. Stopping resolves (stopReason 'stopped'). */
  promise: Promise<ReplyResult>;
  /** Ends the reply within one token; harmless when it is already over. */
  stop(): void;
}

const defaultContextLength = 4096;

/** What a running reply can be told. */
interface Control {
  stopped: boolean;
  chatKey: string;
  trail: SparsityTrail;
  speculation: GenerateOptions['speculation'];
  native: NativeSession | null;
}

/**
 * One loaded model with its tokenizer, template and KV caches. Plain Node: the CLI holds it in-process, the app in its
 * engine process.
 */
export class Runtime {
  readonly vocabularySize: number;
  readonly spec: ModelSpec;
  readonly sparsity: ModelSparsity;
  readonly activity: ModelActivity;
  private readonly sessions: ChatSessions;
  private readonly running = new Map<Control, Promise<unknown>>();

  private constructor(
    readonly info: RuntimeInfo,
    readonly tokenizer: Tokenizer,
    private readonly encoder: PromptEncoder,
    /** For measurements and calibration; chats go through `reply`. */
    readonly model: NativeModel,
    file: ModelFile,
    /** The path beside which a new pack is written. */
    readonly packTarget: string,
  ) {
    this.spec = file.spec;
    this.vocabularySize = file.spec.vocabulary;
    this.sessions = new ChatSessions(model, encoder, file.spec, info.contextLength);
    this.activity = new ModelActivity(model, file.spec, this.sessions, (id) => tokenizer.textOf(id));
    this.sparsity = new ModelSparsity(model, file.spec, this.sessions, (chatKey, place) => {
      for (const { trail, ...control } of this.running.keys()) {
        // What drafts is settled when a reply begins, and its text is dense's anyway.
        if (control.chatKey === chatKey && !control.speculation) trail.move(place);
      }
    });
  }

  /**
   * Reads the header, builds the tokenizer and the template, loads the weights and the sparsity pack beside them.
   * Errors: model-missing, model-not-gguf, model-truncated, model-unsupported, model-invalid, out-of-memory,
   * engine-unavailable.
   */
  static async open(path: string, options: RuntimeOptions = {}): Promise<Runtime> {
    const addon = options.addon ?? loadAddon();
    const file = await readModelFile(path);
    const tokenizer = new Tokenizer(file.vocabulary);
    const template = new ChatTemplate(file.chatTemplate, file.vocabulary.fileName, {
      bos: tokenizer.text(file.vocabulary.bos),
      eos: tokenizer.text(file.vocabulary.eos),
    });
    const { spec } = file;
    const packPlace = await whereItsPackLies(spec.path, options.packFolder);
    const packed = packPlace !== null;
    const packing = packed ? readPack(spec, packPlace) : null;
    try {
      // A model that is divided between GPU and CPU is divided by what its calibration saw.
      const pack = options.device && options.device !== 'cpu' ? (await packing)?.pack : null;
      const frequencies = pack ? frequenciesOf(pack.info) : undefined;
      const model = await addon.load(
        spec,
        {
          threads: options.threads ?? 0,
          byNeuron: options.byNeuron ?? packed,
          ...(options.isa ? { isa: options.isa } : {}),
          ...(options.device ? { device: options.device } : {}),
          gpuBudget: options.gpuBudget ?? 0,
          memoryBudget: options.memoryBudget ?? 0,
          neuronFile: `${packTarget(spec.path, options.packFolder)}.neurons`,
          ...(frequencies ? { frequencies } : {}),
        },
        options.onProgress,
      );
      const info: RuntimeInfo = {
        path: spec.path,
        name: file.name,
        architecture: spec.architecture,
        quantization: file.quantization,
        contextLength: Math.min(options.contextLength ?? defaultContextLength, spec.trainedContext),
        trainedContext: spec.trainedContext,
        ...model.info,
      };
      const runtime = new Runtime(
        info,
        tokenizer,
        new PromptEncoder(template, tokenizer),
        model,
        file,
        packTarget(spec.path, options.packFolder),
      );
      if (packing) await runtime.sparsity.usePack(await packing);
      else await useFilePlans(runtime.sparsity, file);
      return runtime;
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Starts a reply. Errors (through the promise): context-overflow, busy, bad-request, model-invalid (template), internal. */
  reply(request: ReplyRequest, onEvent: (event: ReplyProgress) => void): RunningReply {
    const { chatKey, sparsity = null } = request;
    const speculation = this.sparsity.speculationOf(sparsity);
    const control: Control = {
      stopped: false,
      native: null,
      chatKey,
      speculation: speculation?.options,
      trail: new SparsityTrail(speculation?.name ?? this.sparsity.nameOf(sparsity)),
    };
    const promise = this.run(request, onEvent, control).finally(() => this.running.delete(control));
    this.running.set(control, promise);
    return { promise, stop: () => stop(control) };
  }

  /**
   * Moves the chat's slider, for a reply that runs (and does not speculate) from its next token on.
   * Errors: bad-request (a plan that does not fit).
   */
  setSparsity(chatKey: string, sparsity: Sparsity): void {
    const session = this.sessions.get(chatKey);
    if (session) this.sparsity.move(chatKey, session, sparsity);
  }

  /** Drops a chat's KV cache, for instance because the chat was removed. A running reply of it is stopped. */
  forget(chatKey: string): void {
    this.sessions.forget(chatKey);
  }

  /** Tokens of the prompt that asks for a reply to this one message. */
  encodeChat(message: string): Promise<number[]> {
    return this.encoder.encode(this.encoder.render([{ role: 'user', content: message }]));
  }

  /** Tokens of a prompt, as of a chat that begins with it; `continueText` begins the reply. */
  encodePrompt(prompt: Pick<ReplyRequest, 'systemPrompt' | 'messages'>, continueText?: string): Promise<Int32Array> {
    return this.encoder.encode(this.render({ ...prompt, continueText })).then((tokens) => Int32Array.from(tokens));
  }

  /** A session of its own for measurements; the caller closes it. Errors: out-of-memory, bad-request. */
  openSession(contextLength: number): NativeSession {
    try {
      return this.model.createSession({ contextLength });
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Stops what runs, waits for it and frees the model. */
  async close(): Promise<void> {
    for (const control of this.running.keys()) stop(control);
    await Promise.allSettled(this.running.values());
    this.activity.close();
    this.sessions.close();
    this.model.close();
  }

  private async run(
    request: ReplyRequest,
    onEvent: (event: ReplyProgress) => void,
    control: Control,
  ): Promise<ReplyResult> {
    const begin = performance.now();
    const session = this.sessions.acquire(request.chatKey);
    try {
      this.sparsity.move(request.chatKey, session, request.sparsity ?? null);
      this.activity.apply(session);
      const prompt = await this.prompt(request, session);
      return await this.generate(request, Int32Array.from(prompt), session, onEvent, control, begin);
    } catch (error) {
      throw fromNative(error);
    } finally {
      this.sessions.release(session);
    }
  }

  private async prompt(request: ReplyRequest, { memory }: ChatSession): Promise<number[]> {
    const { messages, sampling } = request;
    if (messages.length === 0) throw new HunchError('bad-request', 'There is no message to reply to.');
    const tokens = await memory.encode(this.render(request));
    // A reply of a few words is worth starting; less is not. Nothing is cut off silently: the person decides what goes.
    const { contextLength, trainedContext } = this.info;
    const reserve = Math.min(sampling.maxTokens, 256, Math.floor(contextLength / 4));
    if (tokens.length + reserve > contextLength) {
      const raise =
        contextLength < trainedContext
          ? `, or raise the context length (this model can take up to ${trainedContext})`
          : '';
      throw new HunchError(
        'context-overflow',
        `This chat has ${tokens.length} tokens, but the context holds ${contextLength} and ${reserve} of them are kept for the reply. ` +
          `Shorten the message or the system prompt, start a new chat${raise}.`,
      );
    }
    return tokens;
  }

  private render({
    systemPrompt,
    messages,
    continueText,
  }: Pick<ReplyRequest, 'systemPrompt' | 'messages' | 'continueText'>): string {
    return this.encoder.render(
      [
        ...(systemPrompt === '' ? [] : [{ role: 'system' as const, content: systemPrompt }]),
        ...messages.map(({ role, text }) => ({ role, content: text })),
      ],
      continueText,
    );
  }

  private async generate(
    { sampling, source, chatKey, firstToken = 0 }: ReplyRequest,
    prompt: Int32Array,
    { native, memory }: ChatSession,
    onEvent: (event: ReplyProgress) => void,
    control: Control,
    begin: number,
  ): Promise<ReplyResult> {
    const { seed: wanted, maxTokens, ...rest } = sampling;
    const seed = wanted ?? randomInt(2 ** 32);
    const room = this.info.contextLength - prompt.length;
    const text = new ReplyText(this.tokenizer, begin, onEvent);
    const { trail } = control;
    if (control.stopped)
      return { text: '', seed, stats: stats(unstarted(prompt), text, true), sparsity: String(trail) };
    let told = '';
    const activity = this.activity.begin(source ?? chatKey, prompt, firstToken);
    control.native = native;
    const result = await native.generate(
      prompt,
      {
        ...rest,
        seed,
        maxTokens: Math.min(maxTokens, room),
        stopTokens: this.tokenizer.stopTokens,
        ...(control.speculation ? { speculation: control.speculation } : {}),
      },
      (event) => {
        if (event.type === 'prefill') return onEvent(event);
        text.push(event.ids);
        const frames = activity.wrote(event.ids, event.frames);
        if (frames) onEvent(frames);
        trail.wrote(event.ids.length);
        const made = String(trail);
        if (made !== told) onEvent({ type: 'sparsity', made });
        told = made;
      },
    );
    memory.extend(text.settled.text, text.settled.tokens);
    return { text: text.text, seed, stats: stats(result, text, maxTokens <= room), sparsity: String(trail) };
  }
}

function stop(control: Control): void {
  control.stopped = true;
  control.native?.stop();
}

function unstarted(prompt: Int32Array): GenerateResult {
  const none = { cachedTokens: 0, generatedTokens: 0, draftedTokens: 0, acceptedTokens: 0, prefillMs: 0, decodeMs: 0 };
  return { reason: 'cancelled', promptTokens: prompt.length, ...none };
}

function stats(result: GenerateResult, text: ReplyText, maxTokensFit: boolean): ReplyStats {
  const { reason, promptTokens, cachedTokens, generatedTokens, decodeMs } = result;
  // The first token comes out of the prefill; a stop token took a step of its own.
  const steps = reason === 'stop-token' ? generatedTokens : generatedTokens - 1;
  return {
    promptTokens,
    cachedTokens,
    generatedTokens,
    timeToFirstTokenMs: text.timeToFirstTokenMs,
    tokensPerSecond: steps > 0 && decodeMs > 0 ? (steps / decodeMs) * 1000 : 0,
    stopReason: {
      'stop-token': 'end' as const,
      'max-tokens': maxTokensFit ? ('length' as const) : ('context' as const),
      'context-full': 'context' as const,
      cancelled: 'stopped' as const,
    }[reason],
  };
}
