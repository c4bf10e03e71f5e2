/**
 * Types of the native module (native/addon). Plain data in, plain data out; every failure is a thrown `NativeError`
 * with a `code` from contract/errors.ts and a sentence. No call blocks the JavaScript thread for longer than 1 ms:
 * what takes longer returns a promise and runs on the engine's threads.
 */

import type { Device, GpuReport, Residency } from '../contract/devices';

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
  architecture: string; // 'llama', 'bamboo', 'qwen2', 'qwen3', 'gemma3', 'opt'
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
  /** Keep MLPs without true zeros also by neuron, so that plans can skip in them; two thirds more memory. Default: false. */
  byNeuron?: boolean;
  /** Where it runs. cuda: an error where that cannot be; auto: then the CPU, with the reason in ModelInfo. Default: cpu. */
  device?: Device;
  /** Bytes of the GPU's memory that weights may take; 0 (default) = what is free. A larger model is divided between GPU and CPU. */
  gpuBudget?: number;
  /** [layers][neurons] share of tokens in which each is active: what a model is divided by. Default: not measured. */
  frequencies?: Float32Array[];
  /** Bytes of main memory that weights may take; neurons beyond it come from the file when they are needed. 0 (default) = all are kept. */
  memoryBudget?: number;
  /** That file, made when it is first needed; default: the model's path with .neurons behind it. */
  neuronFile?: string;
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
  device: string; // the GPU's name; empty on the CPU
  deviceNote: string; // why no GPU is used although one was asked for, or how the model was divided
  gpuBytes: number; // of the GPU's memory that the weights take
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
  /** Lossless: `draft` (null: only repeated phrases) proposes tokens, dense batches check them; the session's plan is not used. */
  speculation?: { draft: Plan | null };
}

/** How a layer's MLP runs. `screened`: a low-bit copy of the gate names the neurons; `predicted`: a predictor does, earlier. */
export type MlpRoute = 'dense' | 'exact' | 'screened' | 'predicted';

export interface LayerPlan {
  mlp: MlpRoute;
  /** exact, screened, predicted: a neuron whose |act(gate)| does not exceed it is skipped. 0: only what is zero anyway. */
  gateThreshold: number;
  /** screened, predicted: neurons whose score does not exceed it are not read. */
  scoreThreshold: number;
  /** Heads whose predicted score does not exceed it are skipped; null = all heads run. */
  headThreshold: number | null;
}

/** One place of the slider, ready to run. */
export interface Plan {
  layers: LayerPlan[];
  /** The output head: 0 = whole; else logits come from a copy of so many bits, and those within `margin` of the best are recomputed. */
  vocabulary: { bits: 0 | 2 | 4; margin: number };
  /** Tokens after which the keys and values of these tokens are written again densely (Sirius, Zhou 2024), 1 to 256; absent or 0 = never. */
  correctEvery?: number | undefined;
}

/** score[row] = bias + b · (relu?) (a · input). Which vector is read: the input of the layer before's MLP, of this layer's attention or MLP. */
export interface LowRankPredictor {
  source: 'previous' | 'attention' | 'same';
  rank: number;
  relu: boolean;
  a: Float32Array; // [rank][width]
  b: Float32Array; // [rows][rank]; rows = neurons or heads
  bias: Float32Array | null; // [rows]
}

/** By layer; null where a layer has none. */
export interface Predictors {
  mlp: (LowRankPredictor | null)[];
  heads: (LowRankPredictor | null)[];
}

/** One plan beside another on the same text, teacher-forced; every position runs as a decode step would. */
export interface Comparison {
  positions: number;
  nll: number; // sum over positions, nats
  referenceNll: number;
  kl: number; // sum over positions of KL(reference ‖ tested), nats
  agree: number; // positions with the same likeliest token
}

/** What decode steps computed since the last call. */
export interface Activity {
  tokens: number;
  /** Per layer: neurons computed (up and down read) and, for screened and predicted layers, neurons named; sums over tokens. */
  computed: Float64Array;
  named: Float64Array;
  /** Per layer: heads computed; sum over tokens. */
  heads: Float64Array;
  /** Weight bytes read, all tokens together. */
  bytes: number;
  /** Seconds in predictors, on the busiest lane, and in all. */
  predictorSeconds: number;
  seconds: number;
}

/** Progress of `generate`, delivered on the JavaScript thread; several tokens may come in one call. */
export type GenerateEvent = { type: 'prefill'; done: number; total: number } | TokensEvent;

export interface TokensEvent {
  type: 'tokens';
  ids: number[];
  /** While captured, for each id: the summary (contract/frames.ts) of the step whose logits it was drawn from; null for a token that came out
   * of a batch (the first of a reply, speculation). Absent while nothing is captured. */
  frames?: (Uint8Array | null)[];
}

/** What decode steps note down from the next token on; `full` also writes records into the model's ring. */
export interface CaptureOptions {
  mode: 'off' | 'summary' | 'full';
  /** Every so many tokens the step also looks at what it skips; 0 = never. */
  auditEvery: number;
}

/** See contract/activity.ts. */
export interface Edit {
  kind: 'neuron' | 'head';
  layer: number;
  index: number;
  action: 'off' | 'clamp' | 'force';
  value: number;
}

export interface GenerateResult {
  reason: 'stop-token' | 'max-tokens' | 'context-full' | 'cancelled';
  promptTokens: number;
  cachedTokens: number; // prompt tokens taken from the KV cache
  generatedTokens: number;
  draftedTokens: number; // by speculation
  acceptedTokens: number; // of these
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
   * context, which are not timed and stay in the cache for the next call. `text`: the tokens to run instead, repeated where they
   * are too few; what sparse plans skip depends on it.
   */
  bench(
    promptTokens: number,
    decodeTokens: number,
    depth?: number,
    text?: Int32Array,
  ): Promise<{ prefillMs: number; decodeMs: number }>;
  /** How decode steps run from the next token on, also while `generate` runs; null = dense. Errors: bad-request (another shape). */
  setPlan(plan: Plan | null): void;
  /** Tested = this session's plan, reference = `reference` (null = dense). Scores tokens[from + 1 …]. */
  compare(reference: Plan | null, tokens: Int32Array, from: number): Promise<Comparison>;
  /** Counters since the last call. */
  activity(): Activity;
  setCapture(options: CaptureOptions): void;
  /** Changes what these neurons and heads say in every pass from now on; [] = nothing. Errors: bad-request (an index out of range). */
  setEdits(edits: Edit[]): void;
  /**
   * Runs tokens[0 … from) as a prompt, then each of the others as the decode step it would have been, with this session's plan. Events carry
   * the tokens from `from` on with their frames; null for the first. Answers nll[i] = −ln p(tokens[from + i]). `stop()` ends it: cancelled.
   */
  trace(tokens: Int32Array, from: number, onEvent: (event: TokensEvent) => void): Promise<Float32Array>;
  /** The likeliest next tokens that each layer's residual stream after the last of `tokens` would give: [layers][top], likeliest first. */
  lens(tokens: Int32Array, top: number): Promise<{ ids: Int32Array; probabilities: Float32Array }>;
  close(): void;
}

/** What a calibration listens for. */
export interface CalibrationOptions {
  /** Inputs that predictors will be fitted to read; each costs one or two matrices [width][width] a layer and its share of the samples. */
  sources: LowRankPredictor['source'][];
  /** Predictors of heads, too (they read `previous`); default false. */
  heads?: boolean;
  /** The longest window, in tokens; default 1024. */
  contextLength?: number;
  /** Memory for captured tokens kept to fine-tune on; the oldest go first. Default 512 MiB, some 15,000 tokens of SmolLM2 135M. */
  sampleBytes?: number;
  /** Tokens kept apart to judge by: every tenth run of 32, a fair choice of all that was captured. Default 2048. */
  heldOutTokens?: number;
  /** Most that the sums may take, in bytes; default 8 GiB. */
  momentBytes?: number;
  /** Threads of a low priority; 0 (default) = half of the physical cores, at least one. Results do not depend on it. */
  threads?: number;
}

/** What was captured so far. A window's first token is not counted. */
export interface CalibrationStatistics {
  tokens: number;
  sampleTokens: number; // kept to fine-tune on
  heldOutTokens: number;
  layers: {
    density: number; // share of neurons that are not zero
    frequency: Float32Array; // [neurons] share of tokens in which each is not zero
    gateQuantiles: Float32Array; // [21] of |act(gate)| at 0, 5 … 100 % of all neurons
    headQuantiles: Float32Array | null; // [21] of a head's norm over the mean of its layer; null without `heads`
  }[];
}

export interface FitOptions {
  /** One of the calibration's. Layer 0 has no layer before it and reads `attention` instead of `previous`. */
  source: LowRankPredictor['source'];
  rank: number; // 1 … 4096; a smaller one comes out where there are fewer rows
  headRank?: number; // 0 (default): no predictors of heads
  relu?: boolean; // between the factors; only fine-tuning makes use of it. Default false
  /** Active = above the gate threshold that drops this share (0 … 1) of Σ|act(gate)|. 0 (default): all that is not zero; ReLU only. */
  droppedMass?: number;
  /** How long to fine-tune, 0 (default) with 0 steps: not at all, the closed form alone. */
  fineTuneSeconds?: number;
  /** The same in steps of 256 tokens, of each layer. Fitting by steps alone gives the same bits on every run. */
  fineTuneSteps?: number;
}

export interface FitProgress {
  fraction: number; // 0 … 1
  seconds: number;
  loss: number; // on held-out tokens, per neuron, mean over layers
  doneLayers: number; // whose loss no longer falls
  steps: number; // the least of any layer, over all calls
}

/** What a score threshold of a predictor names on held-out tokens. */
export interface ScoreThreshold {
  threshold: number;
  density: number; // share of neurons (heads) named
  recall: number; // share of the active neurons that are named …
  massRecall: number; // … and of their Σ|act(gate)|; of heads: both of the sum of norms
}

/** What a gate threshold drops. */
export interface GateThreshold {
  threshold: number;
  density: number; // share of all neurons that stays
  droppedNeurons: number; // share of the active ones
  droppedMass: number; // share of Σ|act(gate)|
}

/**
 * Listens to the model on text and fits predictors to what it heard. Calls queue; sessions of the model go on meanwhile. Thresholds are
 * by layer and come from held-out tokens in float arithmetic; the engine then rounds predictors to 8 bits.
 */
export interface NativeCalibration {
  /**
   * Runs a window densely from an empty cache and adds what its layers saw. Errors: bad-request, context-overflow, cancelled (what has run
   * is kept), model-invalid (activations that are no numbers), out-of-memory.
   */
  capture(tokens: Int32Array): Promise<CalibrationStatistics>;
  statistics(): Promise<CalibrationStatistics>;
  /**
   * Predictors of all layers: the closed form and, with time or steps, fine-tuned from there. Another call with the same source, rank, relu
   * and droppedMass goes on where the last one ended, after a `restore` too. Errors: bad-request (nothing captured, a source that was not
   * listened to), cancelled (`fitted` then has the best so far).
   */
  fit(options: FitOptions, onProgress?: (progress: FitProgress) => void): Promise<Predictors>;
  /** The predictors fitted last. Errors: bad-request (none yet). */
  fitted(): Promise<Predictors>;
  /** Without training: the truncated SVD of each gate, reading `same`; weighted (default false): by how its inputs vary. */
  factorGates(rank: number, weighted?: boolean): Promise<Predictors>;
  /** Of the predictors fitted last, by layer: the highest threshold with this recall (0 … 1) of neurons, or of their mass. */
  thresholds(recall: number, byMass?: boolean): Promise<ScoreThreshold[]>;
  /** Of the heads' predictors: the highest threshold whose heads hold this share of the norms. */
  headThresholds(share: number): Promise<ScoreThreshold[]>;
  /** As `thresholds`, of any predictors of this model's MLPs; zeros where a layer has none. */
  judge(predictors: Predictors, recall: number, byMass?: boolean): Promise<ScoreThreshold[]>;
  /** By layer: the highest gate threshold that drops at most this share (0 … 1) of Σ|act(gate)|. */
  gateThresholds(mass: number): Promise<GateThreshold[]>;
  /** Ends captures and fits that run or wait (they reject as `cancelled`, within one step); later calls are not affected. */
  cancel(): void;
  /** All that was captured and fitted, in one file that replaces an older one. Errors: disk-full, bad-request. */
  save(path: string): Promise<void>;
  /** Takes a saved state instead of this one, its sources included. Errors: not-found, bad-request (another model, a damaged file). */
  restore(path: string): Promise<void>;
  close(): void;
}

export interface NativeModel {
  readonly info: ModelInfo;
  createSession(options: { contextLength: number }): NativeSession;
  /** Replaces all predictors; sessions use them from their next token on. Errors: bad-request (shapes, values that are no numbers). */
  setPredictors(predictors: Predictors): Promise<void>;
  /**
   * What the engine's own code says of a predictor's inputs [n][width]: scores [n][rows]. To compare it with another program that runs the
   * predictor; factors as a calibration hands them out give the same to 1e-4. Errors: bad-request (no such predictor, sizes).
   */
  predict(layer: number, kind: 'mlp' | 'heads', inputs: Float32Array): Float32Array;
  /**
   * Errors: bad-request (the model's neurons are not apart: load it with `byNeuron`), out-of-memory (more sums than momentBytes).
   */
  calibration(options: CalibrationOptions): Promise<NativeCalibration>;
  /** Where records go: a file of at most `bytes` that is the ring's alone, oldest records first to go; 0 bytes: nowhere. Errors: disk-full, bad-request. */
  setRing(path: string, bytes: number): void;
  /** The record (contract/frames.ts) of the step with this sequence number; null when the ring does not hold it. */
  record(sequence: number): Uint8Array | null;
  /** Where the neurons lie; its counters begin anew with each call. */
  residency(): Residency;
  /** Frees the weights when the last session is closed. */
  close(): void;
}

export interface NativeAddon {
  info(): NativeInfo;
  /** Reads, checks and repacks the weights on the engine's threads. `onProgress` gets 0…1. */
  load(spec: ModelSpec, options: LoadOptions, onProgress?: (fraction: number) => void): Promise<NativeModel>;
  /** Read bandwidth of this machine in GB/s with `threads` threads over a buffer of `bytes`, median of several passes. */
  readBandwidth(threads: number, bytes: number): Promise<number>;
  gpus(): Promise<GpuReport>;
}
