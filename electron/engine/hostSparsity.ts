import { HunchError } from '../contract/errors';
import type { SparsityState } from '../contract/sparsity';
import type { EngineSparsity, FromWorker, ToWorker } from './protocol';

export type SparsityMessage = Extract<
  FromWorker,
  { type: 'sparsity-state' | 'calibration' | 'calibrated' | 'calibration-failed' }
>;

export const noSparsity: SparsityState = {
  modelId: null,
  stops: ['dense'],
  frontier: [],
  measured: null,
  calibration: null,
  problem: null,
};

/** The main process's side of the slider: what the loaded model has, and how its calibration goes. */
export class HostSparsity {
  private current: SparsityState = noSparsity;
  private calibrating: {
    promise: Promise<SparsityState>;
    resolve(): void;
    reject(error: HunchError): void;
  } | null = null;

  constructor(
    private readonly send: (message: ToWorker) => void,
    private readonly onState: (state: SparsityState) => void,
  ) {}

  get state(): SparsityState {
    return this.current;
  }

  loaded(modelId: string, sparsity: EngineSparsity): void {
    this.set({ ...sparsity, modelId, calibration: null });
  }

  /** The model is gone, and a calibration with it. */
  unloaded(error: HunchError): void {
    const { calibrating } = this;
    this.calibrating = null;
    if (this.current.modelId !== null) this.set(noSparsity);
    calibrating?.reject(error);
  }

  /** Resolves when the model is calibrated; a second call waits for the first one's end. */
  calibrate(): Promise<SparsityState> {
    if (this.current.modelId === null) {
      const error = new HunchError('engine-unavailable', 'No model is loaded. Choose one in the model list first.');
      return Promise.reject(error);
    }
    if (this.calibrating) return this.calibrating.promise;
    let resolve!: () => void;
    let reject!: (error: HunchError) => void;
    const promise = new Promise<SparsityState>((yes, no) => {
      resolve = () => yes(this.current);
      reject = no;
    });
    this.calibrating = { promise, resolve, reject };
    this.set({ ...this.current, calibration: { phase: 'capture', fraction: 0, detail: 'Starting.' } });
    this.send({ type: 'calibrate' });
    return promise;
  }

  cancel(): void {
    if (this.calibrating) this.send({ type: 'cancel-calibrate' });
  }

  receive(message: SparsityMessage): void {
    switch (message.type) {
      case 'sparsity-state':
        return this.set({ ...this.current, ...message.state });
      case 'calibration':
        if (this.calibrating) this.set({ ...this.current, calibration: message.status });
        return;
      case 'calibrated':
        return this.end(({ resolve }) => resolve());
      case 'calibration-failed':
        return this.end(({ reject }) => reject(new HunchError(message.error.code, message.error.message)));
    }
  }

  private end(settle: (calibrating: NonNullable<HostSparsity['calibrating']>) => void): void {
    const { calibrating } = this;
    if (!calibrating) return;
    this.calibrating = null;
    this.set({ ...this.current, calibration: null });
    settle(calibrating);
  }

  private set(state: SparsityState): void {
    this.current = state;
    this.onState(state);
  }
}
