import { HunchError } from '../contract/errors';
import type { CalibrationStatus } from '../contract/sparsity';
import type { Runtime } from './runtime';

export interface CalibrationOptions {
  /** Looked at often; once it is set the promise rejects as `cancelled`, and the next run goes on from there. */
  signal: { aborted: boolean };
  onStatus(status: CalibrationStatus): void;
}

/** Measures the loaded model and gives it its pack (electron/sparsity/calibrate.ts). */
export async function calibrate(_runtime: Runtime, _options: CalibrationOptions): Promise<void> {
  throw new HunchError('engine-unavailable', 'This build of Hunch cannot measure models yet. Update Hunch.');
}
