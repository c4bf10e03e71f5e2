import { z } from 'zod';

/** The named stops of the slider, from everything computed to as little as possible. */
export const stopNames = ['dense', 'exact', 'careful', 'balanced', 'fast', 'fastest'] as const;
export type StopName = (typeof stopNames)[number];

/** How much perplexity may rise against dense at a stop (0.01 = 1 %); null: the text is dense's, bit for bit. */
export const stopLimits: Record<StopName, number | null> = {
  dense: null,
  exact: null,
  careful: 0.005,
  balanced: 0.01,
  fast: 0.03,
  fastest: 0.1,
};

/** Where on the slider (0 = dense … 1 = fastest) a stop lies. Between two stops a part of the layers runs as at the faster one. */
export function stopPosition(stop: StopName): number {
  return stopNames.indexOf(stop) / (stopNames.length - 1);
}

/** The stop at this place of the slider, or null between two stops. */
export function stopAt(position: number): StopName | null {
  return stopNames.find((name) => Math.abs(stopPosition(name) - position) < 1e-6) ?? null;
}

/** How a chat's replies are computed. */
export const sparsitySchema = z
  .object({
    position: z.number().min(0).max(1),
    /** Rewrites the keys and values of the last tokens densely now and then (Sirius, Zhou 2024). */
    correction: z.boolean(),
    /** Drafts sparsely and verifies densely: dense's text, faster. Counts from the next reply on. */
    speculation: z.boolean(),
  })
  .strict();
export type Sparsity = z.infer<typeof sparsitySchema>;

/** Faster where that changes nothing in the text; a model without that stop runs dense there. */
export const defaultSparsity: Sparsity = { position: stopPosition('exact'), correction: false, speculation: false };

/** What a stop was measured to give on this machine, beside dense in the same run. */
export interface FrontierPoint {
  stop: StopName;
  tokensPerSecond: number;
  /** tokensPerSecond / dense's, median of interleaved pairs. */
  speedup: number;
  /** In-loop perplexity divided by dense's, on held-out text. */
  perplexityRatio: number;
  /** KL(dense ‖ stop), nats a token. */
  kl: number;
  /** Share of positions where the likeliest token is dense's. */
  agreement: number;
  /** Share of the MLP's neurons that were computed. */
  density: number;
  /** Weights read for one token. */
  bytesPerToken: number;
  /** The same with dense correction; absent where the stop's keys and values are dense's anyway, or nobody measured it. */
  corrected?: { tokensPerSecond: number; speedup: number; perplexityRatio: number } | undefined;
}

export const calibrationPhases = ['capture', 'thresholds', 'training', 'audit', 'measuring'] as const;
export type CalibrationPhase = (typeof calibrationPhases)[number];

export interface CalibrationStatus {
  phase: CalibrationPhase;
  /** 0…1 of the whole run. */
  fraction: number;
  /** One sentence on what happens now. */
  detail: string;
}

/** What the slider shows for the loaded model. */
export interface SparsityState {
  modelId: string | null;
  /** Stops this model can run at: always dense; exact only where skipped neurons are true zeros; the rest once calibrated. */
  stops: StopName[];
  /** Dense first; empty while nothing was measured. */
  frontier: FrontierPoint[];
  /** When and on what the frontier was measured; null without one. */
  measured: { date: string; machine: string; text: string; tokens: number } | null;
  /** Null when no calibration runs. */
  calibration: CalibrationStatus | null;
  /** Why the pack beside the model is not used (corrupt, of another model, …); null when all is well or there is none. */
  problem: string | null;
}
