import type { Device, GpuReport } from '../contract/devices';
import type { EngineStatus, ReplyStats } from '../contract/entities';
import { HunchError, type ErrorBody } from '../contract/errors';
import type { Sparsity, SparsityState } from '../contract/sparsity';
import { errorBody } from '../errorBody';
import type { AnswerOf, Ask, Ring } from './activityProtocol';
import { CrashLog } from './crashLog';
import { HostActivity } from './hostActivity';
import { HostSparsity } from './hostSparsity';
import { fromWorkerSchema, type EngineSparsity, type FromWorker, type ToWorker } from './protocol';
import type { ReplyProgress, ReplyRequest, RuntimeInfo } from './runtime';
import type { EngineProcess, ForkEngine } from './transport';

/** Where a model's file lies (models/library). */
export interface ModelFile {
  id: string;
  name: string;
  path: string;
  /** Runtime's packFolder. */
  packFolder?: string;
}

export interface LoadSettings {
  threads: number; // 0 = one per physical core
  contextLength: number;
  device: Device;
  gpuBudget: number; // bytes; 0 = what is free
  memoryBudget: number; // bytes; 0 = all weights are kept
}

export interface HostOptions {
  fork: ForkEngine;
  /** Errors: not-found, model-missing, model-… */
  findModel(modelId: string): Promise<ModelFile>;
  /** Read before each load; a change takes effect with the next `select`. */
  settings(): LoadSettings;
  /** Where records of activations go, read when it is asked to watch. Default: nowhere. */
  ring?(): Ring;
  onStatus(status: EngineStatus): void;
  onSparsity(state: SparsityState): void;
  log(line: string): void;
  crashes?: CrashLog;
  /** How long a stopped reply may go on before its process is killed. */
  stopPatienceMs?: number;
}

export interface EngineReply {
  /** Settles once no further event will come; null: stopped before it began. Rejects with a HunchError. */
  promise: Promise<ReplyStats | null>;
  stop(): void;
}

interface ActiveReply {
  onEvent(event: ReplyProgress): void;
  resolve(stats: ReplyStats): void;
  reject(error: HunchError): void;
}

interface Loaded {
  info: RuntimeInfo;
  sparsity: EngineSparsity;
}

interface Wait<T> {
  resolve(value: T): void;
  reject(error: HunchError): void;
}

export const stoppedStatus: EngineStatus = {
  state: 'stopped',
  modelId: null,
  modelName: null,
  contextLength: null,
  isa: null,
  threads: null,
  device: null,
  deviceNote: null,
  loadProgress: null,
  error: null,
};

/**
 * Owns the engine's process: starts it, loads models, carries replies, and starts it again after a crash (with growing
 * pauses; not after the third crash within a minute). A GPU that failed is such a crash: CUDA is of no more use in that process. Loads wait until running replies have ended; everything that
 * needs a model takes its turn in one queue.
 */
export class EngineHost {
  readonly sparsity: HostSparsity;
  readonly activity: HostActivity;
  private process: EngineProcess | null = null;
  private loaded: string | null = null;
  private wanted: string | null = null;
  private current: EngineStatus = stoppedStatus;
  private closed = false;
  /** A turn of the queue is loading and starts the process again itself. */
  private ensuring = false;
  private lastLoadId = 0;
  private starting: Wait<void> | null = null;
  private loading: (Wait<Loaded> & { loadId: number }) | null = null;
  /** Replies that wait for their turn. */
  private readonly waiting = new Set<{ request: ReplyRequest }>();
  private readonly active = new Map<string, ActiveReply>();
  /** One promise per active reply that resolves when it is over. */
  private readonly streaming = new Set<Promise<void>>();
  private readonly crashes: CrashLog;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(private readonly options: HostOptions) {
    this.crashes = options.crashes ?? new CrashLog();
    this.sparsity = new HostSparsity((message) => this.send(message), options.onSparsity);
    this.activity = new HostActivity((message) => this.send(message), options.ring);
  }

  get status(): EngineStatus {
    return this.current;
  }

  get pid(): number | undefined {
    return this.process?.pid;
  }

  /** Loads this model now. Errors: the model's; engine-unavailable after repeated crashes. */
  async select(modelId: string): Promise<EngineStatus> {
    // A person's decision: earlier crashes (of another model, perhaps) no longer count.
    this.crashes.clear();
    await this.enqueue(() => this.ensure(modelId));
    return this.current;
  }

  /** Ends the process, whatever it does, and loads the last model in a new one. Running replies are interrupted. */
  async restart(): Promise<EngineStatus> {
    this.lose('restarted on request');
    // The status names a model that could not be found; it may be there now.
    const modelId = this.wanted ?? this.current.modelId;
    if (modelId === null) return this.current;
    return this.select(modelId);
  }

  /** Waits for the model, then streams. Events come in order and at most 60 times per second. */
  reply(replyId: string, modelId: string, request: ReplyRequest, onEvent: (event: ReplyProgress) => void): EngineReply {
    let stopWaiting: (value: null) => void = () => {};
    let stopped = false;
    const stoppedEarly = new Promise<null>((resolve) => (stopWaiting = resolve));
    const waiting = { request };
    this.waiting.add(waiting);
    const streamed = this.enqueue(async () => {
      try {
        if (!stopped) await this.ensure(modelId);
      } finally {
        this.waiting.delete(waiting);
      }
      // Wrapped, so that the queue goes on while the reply streams.
      return { stats: stopped ? null : this.begin(replyId, waiting.request, onEvent) };
    }).then(({ stats }) => stats);
    return {
      promise: Promise.race([streamed, stoppedEarly]),
      stop: () => {
        stopped = true;
        if (this.active.has(replyId)) this.stopActive(replyId);
        else stopWaiting(null);
      },
    };
  }

  /** For the chat's reply that runs or waits, from its next token on. */
  setSparsity(chatKey: string, sparsity: Sparsity): void {
    for (const waiting of this.waiting) {
      if (waiting.request.chatKey === chatKey) waiting.request = { ...waiting.request, sparsity };
    }
    this.send({ type: 'sparsity', chatKey, sparsity });
  }

  /**
   * Asks about activations; `modelId`: loads that model first, if need be. Without a model the answer is an error.
   * Errors: engine-unavailable, engine-crashed, those of the question, with a modelId also the model's.
   */
  async ask<K extends Ask['kind']>(ask: Extract<Ask, { kind: K }>, modelId?: string): Promise<AnswerOf<K>> {
    if (modelId !== undefined) {
      // Wrapped, so that the queue goes on while the answer is awaited.
      const send = this.activity.later<K>(ask);
      const { answer } = await this.enqueue(async () => {
        await this.ensure(modelId);
        return { answer: send() };
      });
      return answer;
    }
    if (!this.process || this.loaded === null) {
      throw new HunchError('engine-unavailable', 'No model is loaded. Choose one in the model list first.');
    }
    return this.activity.ask<K>(ask);
  }

  /** Also without a model. Errors: engine-unavailable, engine-crashed. */
  async gpus(): Promise<GpuReport> {
    if (!this.process) await this.enqueue(() => this.start(true));
    const { report } = await this.activity.ask<'gpus'>({ kind: 'gpus' });
    return report;
  }

  /** The chat's KV cache is not needed any more. */
  forget(chatKey: string): void {
    this.send({ type: 'forget', chatKey });
  }

  close(): void {
    this.closed = true;
    this.lose('closed');
    this.setStatus(stoppedStatus);
  }

  private enqueue<T>(work: () => Promise<T>): Promise<T> {
    const result = this.queue.then(work);
    this.queue = result.catch(() => {});
    return result;
  }

  /** Runs inside the queue. */
  private async ensure(modelId: string): Promise<void> {
    const settings = this.options.settings();
    const file = await this.find(modelId);
    const key = JSON.stringify([file.path, settings]);
    this.wanted = modelId;
    if (this.process && this.loaded === key) return;
    await Promise.all(this.streaming);
    this.ensuring = true;
    try {
      await this.loadUntilItStays(file, key, settings);
    } finally {
      this.ensuring = false;
    }
  }

  /** A crash while loading is tried again until there were too many. */
  private async loadUntilItStays(file: ModelFile, key: string, settings: LoadSettings): Promise<void> {
    for (;;) {
      if (this.closed) throw new HunchError('engine-unavailable', 'Hunch is closing.');
      if (this.crashes.tooMany()) throw new HunchError('engine-unavailable', gaveUpMessage);
      await this.crashes.pause();
      try {
        await this.start();
        await this.load(file, key, settings);
        return;
      } catch (error) {
        if (!(error instanceof HunchError && error.code === 'engine-crashed')) throw error;
      }
    }
  }

  private async find(modelId: string): Promise<ModelFile> {
    try {
      return await this.options.findModel(modelId);
    } catch (error) {
      // A loaded model stays usable when another one cannot be found.
      if (this.loaded === null)
        this.setStatus({ ...stoppedStatus, modelId, error: errorBody(error, this.options.log) });
      throw error;
    }
  }

  /** `aside`: not for a model; the status does not tell. */
  private async start(aside = false): Promise<void> {
    if (this.process) return;
    if (aside && (this.closed || this.crashes.tooMany())) throw new HunchError('engine-unavailable', gaveUpMessage);
    if (!aside) this.setStatus({ ...this.unloaded(), state: 'starting' });
    await new Promise<void>((resolve, reject) => {
      this.starting = { resolve, reject };
      const child = this.options.fork();
      this.process = child;
      child.onMessage((message) => {
        if (this.process === child) this.receive(message);
      });
      child.onExit((how) => {
        if (this.process === child) this.crashed(how);
      });
    });
  }

  private async load(file: ModelFile, key: string, settings: LoadSettings): Promise<void> {
    const loadId = ++this.lastLoadId;
    this.loaded = null;
    this.sparsity.unloaded(new HunchError('cancelled', 'Another model is being loaded.'));
    const loading = { ...stoppedStatus, modelId: file.id, modelName: file.name };
    this.setStatus({ ...loading, state: 'loading', loadProgress: 0 });
    try {
      const { info, sparsity } = await new Promise<Loaded>((resolve, reject) => {
        this.loading = { loadId, resolve, reject };
        const { path, packFolder } = file;
        this.send({ type: 'load', loadId, path, packFolder, ...settings });
      });
      this.loaded = key;
      const { contextLength, isa, threads } = info;
      const [device, deviceNote] = [info.device || null, info.deviceNote || null];
      this.sparsity.loaded(file.id, sparsity);
      this.setStatus({ ...loading, state: 'ready', contextLength, isa, threads, device, deviceNote });
    } catch (error) {
      // After a crash the status already says so.
      if (this.process) this.setStatus({ ...loading, error: errorBody(error, this.options.log) });
      if (isGpuFailure(error)) this.lose('its GPU failed');
      throw error;
    } finally {
      this.loading = null;
    }
  }

  private begin(replyId: string, request: ReplyRequest, onEvent: ActiveReply['onEvent']): Promise<ReplyStats> {
    const ended = new Promise<ReplyStats>((resolve, reject) => {
      this.active.set(replyId, { onEvent, resolve, reject });
    });
    const over = ended.catch(() => {}).then(() => void this.streaming.delete(over));
    this.streaming.add(over);
    this.send({ type: 'reply', replyId, request });
    return ended;
  }

  private stopActive(replyId: string): void {
    this.send({ type: 'stop', replyId });
    const child = this.process;
    setTimeout(() => {
      if (this.active.has(replyId) && this.process === child) child?.kill();
    }, this.options.stopPatienceMs ?? 30_000).unref();
  }

  private send(message: ToWorker): void {
    this.process?.send(message);
  }

  private receive(raw: unknown): void {
    const parsed = fromWorkerSchema.safeParse(raw);
    if (!parsed.success) {
      this.options.log(`engine: unreadable message: ${parsed.error.issues[0]?.message ?? ''}`);
      return this.activity.unreadable(raw);
    }
    const message = parsed.data;
    this.dispatch(message);
    // A load's failure is dealt with where the load is waited for.
    if ('error' in message && !('loadId' in message) && message.error.code === 'gpu-failed')
      this.gpuFailed(message.error);
  }

  private dispatch(message: FromWorker): void {
    if ('replyId' in message) return this.receiveReply(message);
    if ('loadId' in message) {
      if (message.loadId === this.loading?.loadId) this.receiveLoad(message);
      return;
    }
    if ('askId' in message) return this.activity.receive(message);
    if (message.type === 'ready') {
      this.activity.tell();
      this.starting?.resolve();
    } else if (message.type !== 'refused') this.sparsity.receive(message);
    else this.options.log(`engine: refused a message: ${message.reason}`);
  }

  private receiveReply(message: Extract<FromWorker, { replyId: string }>): void {
    const { replyId, ...event } = message;
    const reply = this.active.get(replyId);
    if (!reply) return;
    if (event.type !== 'ended' && event.type !== 'failed') return reply.onEvent(event);
    this.active.delete(replyId);
    if (event.type === 'ended') reply.resolve(event.stats);
    else reply.reject(new HunchError(event.error.code, event.error.message));
  }

  private receiveLoad(message: Extract<FromWorker, { loadId: number }>): void {
    if (message.type === 'loaded') this.loading?.resolve(message);
    else if (message.type === 'load-failed')
      this.loading?.reject(new HunchError(message.error.code, message.error.message));
    else this.setStatus({ ...this.current, loadProgress: message.fraction });
  }

  private crashed(how: string): void {
    this.options.log(`engine: process ${this.process?.pid ?? ''} ended (${how})`);
    this.process = null;
    this.startAgain(() => this.lose(how), {
      now: { code: 'engine-crashed', message: 'The engine stopped unexpectedly and is being restarted.' },
      gaveUp: { code: 'engine-unavailable', message: gaveUpMessage },
    });
  }

  /** What CUDA holds in a process is broken for good once the GPU has failed there: all that runs fails with it. */
  private gpuFailed(error: ErrorBody): void {
    this.options.log(`engine: process ${this.process?.pid ?? ''} is ended: ${error.message}`);
    this.startAgain(() => this.lose('its GPU failed', error), {
      now: error,
      gaveUp: { code: 'gpu-failed', message: gpuGaveUpMessage },
    });
  }

  private startAgain(lose: () => void, errors: { now: ErrorBody; gaveUp: ErrorBody }): void {
    this.crashes.add();
    const error = this.crashes.tooMany() ? errors.gaveUp : errors.now;
    lose();
    this.setStatus({ ...this.unloaded(), state: 'crashed', error });
    const modelId = this.wanted;
    if (modelId === null || this.ensuring || this.crashes.tooMany()) return;
    this.enqueue(() => this.ensure(modelId)).catch((reason: unknown) => {
      this.options.log(`engine: not restarted: ${errorBody(reason, this.options.log).message}`);
    });
  }

  /** Forgets the process and fails whatever waited for it, with `cause` where that says more than that the process is gone. */
  private lose(how: string, cause?: ErrorBody): void {
    this.process?.kill();
    this.process = null;
    this.loaded = null;
    const failure = (sentence: string): HunchError =>
      cause ? new HunchError(cause.code, cause.message) : new HunchError('engine-crashed', sentence);
    const error = failure(
      `The engine stopped while it was working (${how}). The text so far is kept; press Continue to go on.`,
    );
    this.sparsity.unloaded(
      failure(`The engine stopped while it measured the model (${how}). Measure it again to go on.`),
    );
    this.activity.lost(failure(`The engine stopped while it was asked (${how}). Ask again.`));
    const replies = [...this.active.values()];
    this.active.clear();
    for (const reply of replies) reply.reject(error);
    // Whatever ended the process, a load is tried again in the next one.
    const crash = new HunchError('engine-crashed', error.message);
    this.loading?.reject(crash);
    this.starting?.reject(crash);
    this.starting = null;
  }

  /** The wanted model without a process that holds it. */
  private unloaded(): EngineStatus {
    const { modelId, modelName } = this.current;
    return { ...stoppedStatus, modelId: this.wanted, modelName: modelId === this.wanted ? modelName : null };
  }

  private setStatus(status: EngineStatus): void {
    this.current = status;
    this.options.onStatus(status);
  }
}

const isGpuFailure = (error: unknown): boolean => error instanceof HunchError && error.code === 'gpu-failed';

const gpuGaveUpMessage =
  'The GPU failed several times within a minute, so Hunch no longer restarts the engine by itself. Run on the CPU, or restart the engine.';
const gaveUpMessage =
  'The engine stopped several times within a minute, so Hunch no longer restarts it by itself. Choose another model, or restart the engine.';
