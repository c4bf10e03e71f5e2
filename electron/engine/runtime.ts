import type { ReplyStats, Sampling } from '../contract/entities';
import { HunchError } from '../contract/errors';
import type { Isa, NativeAddon } from './addon';

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
}

export interface ReplyRequest {
  /** Whose KV cache to use (a chat's id). One reply at a time per key; another one is refused as `busy`. */
  chatKey: string;
  systemPrompt: string; // '' = none
  /** The branch, oldest first, ending with the person's message. */
  messages: ChatTurn[];
  sampling: Sampling;
  /** The assistant message's text so far: the reply goes on after it (events carry only what is new). */
  continueText?: string;
}

/** In order: `prefill` any number of times, then `text`. Fits ReplyEvent of contract/stream.ts. */
export type ReplyProgress =
  | { type: 'prefill'; done: number; total: number } // prompt tokens
  | { type: 'text'; text: string; tokens: number; tokensPerSecond: number }; // text to append; totals of this run so far

export interface ReplyResult {
  /** All new text: the concatenation of the `text` events. */
  text: string;
  stats: ReplyStats;
  /** The seed used (sampling.seed, or the fresh one where that was null). */
  seed: number;
}

export interface RunningReply {
  /** Settles once no further event will come; rejects with a HunchError. Stopping resolves (stopReason 'stopped'). */
  promise: Promise<ReplyResult>;
  /** Ends the reply within one token; harmless when it is already over. */
  stop(): void;
}

/**
 * One loaded model with its tokenizer, template and KV caches. Plain Node: the CLI holds it in-process, the app in its
 * engine process.
 */
export class Runtime {
  private constructor(readonly info: RuntimeInfo) {}

  /**
   * Reads the header, builds the tokenizer and the template, loads the weights.
   * Errors: model-missing, model-not-gguf, model-truncated, model-unsupported, model-invalid, out-of-memory,
   * engine-unavailable.
   */
  static async open(_path: string, _options: RuntimeOptions = {}): Promise<Runtime> {
    throw new HunchError('engine-unavailable', 'The engine is not built into this copy of Hunch.');
  }

  /** Starts a reply. Errors (through the promise): context-overflow, busy, model-invalid (template), internal. */
  reply(_request: ReplyRequest, _onEvent: (event: ReplyProgress) => void): RunningReply {
    throw new HunchError('engine-unavailable', 'The engine is not built into this copy of Hunch.');
  }

  /** Drops a chat's KV cache, for instance because the chat was removed. */
  forget(_chatKey: string): void {}

  /** Stops what runs, waits for it and frees the model. */
  async close(): Promise<void> {}
}
