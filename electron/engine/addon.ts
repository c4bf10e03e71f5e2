/**
 * Types of the native module (native/addon). Plain data in, plain data out; every failure is a thrown `NativeError`
 * with a `code` from contract/errors.ts and a sentence. No call blocks the JavaScript thread for longer than 1 ms:
 * what takes longer returns a promise and runs on the engine's threads.
 */

/** Floats, blocks of 32 values, superblocks of 256. */
type FloatType = 'F32' | 'F16' | 'BF16';
type BlockType = 'Q8_0' | 'Q4_0' | 'Q4_1' | 'Q5_0' | 'Q5_1' | 'IQ4_NL';
type SuperblockType = 'Q4_K' | 'Q5_K' | 'Q6_K';
export type TensorType = FloatType | BlockType | SuperblockType;

export interface TensorInfo {
  name: string;
  type: TensorType;
  /** ggml order: ne[0] is the contiguous dimension (columns). 1 to 4 entries. */
  shape: number[];
  /** Bytes from the start of the file. */
  offset: number;
}

/** Rotary positions: frequencies base^(-2i / ropeWidth), then scaled for contexts longer than the trained one. */
export interface RopeSpec {
  base: number;
  scaling: 'none' | 'linear' | 'yarn';
  factor: number; // how many times longer; 1 where nothing is scaled
  originalContext: number; // positions before the scaling; read for yarn only
}

/** Layers that see only the last positions. */
export interface WindowSpec {
  positions: number; // the token at p sees p - positions + 1 … p
  pattern: number; // every pattern-th layer sees everything; above the number of layers = none does
  rope: RopeSpec; // of the windowed layers
}

/** A checked GGUF header (models/gguf.ts). C++ checks shapes and `offset + size` against the real file again. */
export interface ModelSpec {
  path: string;
  architecture: string; // 'llama', 'qwen2', 'qwen3', 'gemma3', 'opt'
  layers: number;
  width: number; // d_model
  ffnWidth: number;
  heads: number;
  kvHeads: number;
  headWidth: number;
  vocabulary: number;
  trainedContext: number;
  normEpsilon: number;
  rope: RopeSpec; // of the layers that see everything
  ropeWidth: number; // rotated dimensions of a head
  window?: WindowSpec;
  attentionScale?: number; // of the scores; default 1 / sqrt(headWidth)
  /** Of the gate. gelu: the tanh form; drelu: relu(gate) * relu(up). */
  activation: 'silu' | 'gelu' | 'relu' | 'drelu';
  tensors: TensorInfo[];
}

export type Isa = 'scalar' | 'avx2' | 'avx512' | 'neon';

export interface LoadOptions {
  threads: number; // 0 = one per physical core
  isa?: Isa; // default: the best this CPU has
}

export interface NativeInfo {
  version: string;
  isas: Isa[]; // what this CPU can run, best first
  physicalCores: number;
  compiler: string;
}

export interface ModelInfo {
  isa: Isa;
  threads: number;
  /** Bytes of weights that one decoded token reads. */
  weightBytesPerToken: number;
  parameterCount: number;
  loadMs: number;
}

export interface GenerateOptions {
  temperature: number; // 0 = greedy
  topK: number;
  topP: number;
  minP: number;
  repeatPenalty: number;
  repeatLastN: number;
  seed: number; // uint32
  maxTokens: number;
  stopTokens: number[];
}

/** Progress of `generate`, delivered on the JavaScript thread; several tokens may come in one call. */
export type GenerateEvent = { type: 'prefill'; done: number; total: number } | { type: 'tokens'; ids: number[] };

export interface GenerateResult {
  reason: 'stop-token' | 'max-tokens' | 'context-full' | 'cancelled';
  promptTokens: number;
  cachedTokens: number; // prompt tokens taken from the KV cache
  generatedTokens: number;
  prefillMs: number;
  decodeMs: number;
}

/** One timeline with its own KV cache. Calls on one session queue; sessions of a model take turns. */
export interface NativeSession {
  /**
   * Runs the prompt (the longest prefix already in the KV cache is reused) and samples until a stop token, maxTokens, a full context or
   * `stop()`. A stop token is counted in neither `ids` nor generatedTokens.
   */
  generate(
    prompt: Int32Array,
    options: GenerateOptions,
    onEvent: (event: GenerateEvent) => void,
  ): Promise<GenerateResult>;
  /** Ends a running `generate` within one token; harmless otherwise. */
  stop(): void;
  /**
   * Scores a window: nll[i] = −ln p(tokens[from + i + 1] | tokens[0 … from + i]), length tokens.length − 1 − from.
   * Double-precision log-sum-exp over float logits. What the KV cache holds of the tokens before `from` is reused.
   */
  score(tokens: Int32Array, from: number): Promise<Float32Array>;
  /** The same, and greedy[i] = 1 where tokens[from + i + 1] is the likeliest token. */
  scoreGreedy(tokens: Int32Array, from: number): Promise<{ nll: Float32Array; greedy: Uint8Array }>;
  /** Logits after the last token of the sequence, from an empty cache: length = vocabulary. */
  logits(tokens: Int32Array): Promise<Float32Array>;
  /**
   * Times `promptTokens` of prefill, then `decodeTokens` single steps with fixed token ids, after `depth` (0) tokens of
   * context, which are not timed and stay in the cache for the next call.
   */
  bench(promptTokens: number, decodeTokens: number, depth?: number): Promise<{ prefillMs: number; decodeMs: number }>;
  close(): void;
}

export interface NativeModel {
  readonly info: ModelInfo;
  createSession(options: { contextLength: number }): NativeSession;
  /** Frees the weights when the last session is closed. */
  close(): void;
}

export interface NativeAddon {
  info(): NativeInfo;
  /** Reads, checks and repacks the weights on the engine's threads. `onProgress` gets 0…1. */
  load(spec: ModelSpec, options: LoadOptions, onProgress?: (fraction: number) => void): Promise<NativeModel>;
  /** Read bandwidth of this machine in GB/s with `threads` threads over a buffer of `bytes`, median of several passes. */
  readBandwidth(threads: number, bytes: number): Promise<number>;
}
