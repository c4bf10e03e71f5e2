import { cpus } from 'node:os';
import path from 'node:path';
import { version } from '../../package.json';
import { HunchError } from '../contract/errors';
import type { CalibrationPhase, CalibrationStatus, FrontierPoint } from '../contract/sparsity';
import type { NativeSession, Plan } from '../engine/addon';
import { hashOf } from '../engine/modelPack';
import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import { Journal } from './journal';
import { compareOn, keyOf, measureSpeeds, qualityByKind, qualityOf, type Speed } from './measure';
import { packFormat, packModel, type Pack, type PackStop } from './pack';
import { exactPlan } from './position';
import { hasZeros, Search, type Candidate, type SearchResult } from './search';
import { chooseStops, limitedStops, pointOf, type Chosen, type Judged, type Measured } from './stops';
import { loadPack, packPath, writePack, type LoadedPack } from './store';
import { calibrationText, portion, textKinds, type CalibrationText, type Window } from './text';

export interface CalibrateOptions {
  /** Looked at often; once it is set the promise rejects as `cancelled`, and the next run goes on from there. */
  signal: { aborted: boolean };
  onStatus(status: CalibrationStatus): void;
  /** A text of the user's: the stops must hold their limits on it, too. */
  sample?: string;
  /** How long it may take, about; slow models are measured on less text. */
  seconds?: number;
  /** Another folder for the pack than the model's own. */
  folder?: string;
}

export interface CalibrationResult {
  /** Of the pack. */
  path: string;
  pack: Pack;
  /** Sentences on what the pack lacks, and why. */
  notes: string[];
}

const usualSeconds = 150;
const text = { least: 1800, most: 12_000 }; // tokens
const sessionTokens = 1024;
/** A stop that is slower than dense by more is none. */
const slowest = 0.99;

/** How much of the whole each phase takes. */
const spans: Record<CalibrationPhase, [number, number]> = {
  capture: [0, 0.15],
  thresholds: [0.15, 0.6],
  training: [0.6, 0.6],
  measuring: [0.6, 0.68],
  audit: [0.68, 1],
};

/**
 * Measures the loaded model on this machine and writes its pack: for each stop the fastest plan whose perplexity stays within the
 * stop's limit on text that it was not chosen on. The plans of a pack that is there already take part, so that no worse one replaces
 * it. Errors: cancelled, pack-invalid (nothing was found that is faster than dense and within its limit), disk-full, internal, those
 * of the engine.
 */
export async function calibrate(runtime: Runtime, options: CalibrateOptions): Promise<CalibrationResult> {
  const target = path.join(options.folder ?? path.dirname(runtime.spec.path), path.basename(runtime.spec.path));
  const sha256 = await hashOf(runtime.spec.path);
  const { isa } = runtime.info;
  const identity = JSON.stringify([version, sha256, isa, options.sample ?? null, options.seconds ?? null]);
  const journal = new Journal(`${packPath(target)}.progress.json`, identity);
  const session = runtime.openSession(Math.min(sessionTokens, runtime.info.trainedContext));
  try {
    journal.save(); // a folder that cannot be written to is better known now
    const result = await new Calibrator(runtime, session, journal, options, { target, sha256 }).run();
    journal.remove();
    if (!options.folder) await runtime.sparsity.usePack(await loadPack(target, { sha256, spec: runtime.spec }));
    return result;
  } catch (error) {
    if (error instanceof HunchError && error.code === 'pack-invalid') journal.remove();
    else journal.save();
    throw fromNative(error);
  } finally {
    session.close();
  }
}

class Calibrator {
  constructor(
    private readonly runtime: Runtime,
    private readonly session: NativeSession,
    private readonly journal: Journal,
    private readonly options: CalibrateOptions,
    private readonly model: { target: string; sha256: string },
  ) {}

  async run(): Promise<CalibrationResult> {
    const { spec } = this.runtime;
    const zeros = hasZeros(spec);
    const lossless = zeros ? exactPlan(spec.layers) : null;
    const { target, sha256 } = this.model;
    const known = (await loadPack(target, { sha256, spec })).pack;
    const written = await this.write(lossless);
    const bench = mixed(written.heldOut);
    const found = await this.search(written, bench);
    const candidates = [...found.candidates, ...ofPack(known)].filter(once());
    const [dense, exact, ...speeds] = await this.speeds([null, lossless, ...candidates.map(({ plan }) => plan)], bench);
    const measured = candidates
      .map(({ plan, rise }, i): Measured => ({ plan, rise, speed: speeds[i]! }))
      .filter(({ speed }) => speed.speedup >= slowest);
    const { stops, frontier, notes } = await chooseStops(
      measured,
      await this.lossless(lossless, [dense!, exact!], written.heldOut),
      (candidate, stop) => this.judge(candidate, stop, written.heldOut),
    );
    if (frontier.length === 1) throw nothingFound(this.runtime, measured.length > 0);
    const pack = this.pack(stops, frontier, found.sensitivity, written.heldOut);
    this.check();
    return { path: await writePack(target, pack, null), pack, notes };
  }

  private async write(lossless: Plan | null): Promise<CalibrationText> {
    this.status('capture', 0, 'Writing text to calibrate on.');
    const { session, runtime, options, journal } = this;
    session.setPlan(lossless);
    const rate = await journal.remember('decode rate', async () => {
      const steps = 16;
      return (steps / (await session.bench(0, steps)).decodeMs) * 1000;
    });
    const tokens = Math.round(
      Math.min(text.most, Math.max(text.least, ((options.seconds ?? usualSeconds) * rate) / 8)),
    );
    return calibrationText(runtime, session, {
      tokens,
      journal,
      ...(options.sample === undefined ? {} : { sample: options.sample }),
      onDocument: (fraction) => this.status('capture', fraction, 'Writing text to calibrate on.'),
    });
  }

  private search(written: CalibrationText, bench: Int32Array): Promise<SearchResult> {
    const { session, journal } = this;
    const { spec } = this.runtime;
    return new Search({
      ...{ session, journal, spec, windows: written.search, text: bench },
      canSkip: this.canSkip(),
      onStep: (fraction, detail) => this.status('thresholds', fraction, detail),
      check: () => this.check(),
    }).run();
  }

  /** Not where the model was loaded without its neurons apart. */
  private canSkip(): boolean {
    try {
      this.session.setPlan(exactPlan(this.runtime.spec.layers));
      return true;
    } catch {
      return false;
    }
  }

  private speeds(plans: (Plan | null)[], bench: Int32Array): Promise<Speed[]> {
    const detail = 'Timing what was found, beside dense.';
    this.status('measuring', 0, detail);
    return measureSpeeds(this.session, plans, {
      ...{ text: bench, steps: 96, depth: Math.min(256, bench.length >> 2), rounds: 7 },
      neurons: this.runtime.spec.ffnWidth,
      onRound: (done, rounds) => this.status('measuring', done / rounds, detail),
    });
  }

  /** The stops without a limit: what they claim is checked. */
  private async lossless(
    exact: Plan | null,
    [denseSpeed, exactSpeed]: [Speed, Speed],
    heldOut: Window[],
  ): Promise<Pick<Chosen, 'stops' | 'frontier'>> {
    const dense = pointOf('dense', denseSpeed, { ratio: 1, kl: 0, agreement: 1 });
    if (!exact || exactSpeed.speedup < slowest) return { stops: {}, frontier: [dense] };
    const quality = qualityOf(await this.compare(exact, portion(heldOut, 0.1), 'exact'));
    if (quality.kl > 1e-9) return { stops: {}, frontier: [dense] };
    return { stops: { exact }, frontier: [dense, pointOf('exact', exactSpeed, quality)] };
  }

  private async judge({ plan }: Measured, stop: PackStop, heldOut: Window[]): Promise<Judged> {
    const index = limitedStops.indexOf(stop);
    this.status('audit', index / limitedStops.length, `Judging ${stop} on text that it was not chosen on.`);
    const results = await this.compare(plan, heldOut, 'audit');
    return { kinds: Object.values(qualityByKind(heldOut, results)), ...qualityOf(results) };
  }

  private compare(plan: Plan, windows: Window[], set: string): ReturnType<typeof compareOn> {
    return this.journal.remember(`${set} ${keyOf(plan)}`, () =>
      compareOn(this.session, plan, windows, () => this.check()),
    );
  }

  private pack(stops: Pack['stops'], frontier: FrontierPoint[], sensitivity: number[], heldOut: Window[]): Pack {
    const { spec, info } = this.runtime;
    const none = Array.from({ length: spec.layers }, () => null);
    const date = new Date().toISOString();
    return {
      format: packFormat,
      model: packModel(spec, { sha256: this.model.sha256, fileName: path.basename(spec.path) }),
      created: date,
      hunch: version,
      predictors: { mlp: none, heads: none },
      sensitivity,
      stops,
      frontier,
      measured: {
        date,
        machine: `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${info.threads} threads`,
        threads: info.threads,
        text: `${heldOut.length} held-out documents that the model wrote${this.options.sample === undefined ? '' : ', and the sample'}`,
        tokens: heldOut.reduce((sum, { tokens, from }) => sum + tokens.length - 1 - from, 0),
        command: `hunch calibrate --model ${path.basename(spec.path)}`,
      },
    };
  }

  private status(phase: CalibrationPhase, fraction: number, detail: string): void {
    this.check();
    const [from, to] = spans[phase];
    this.options.onStatus({ phase, fraction: from + (to - from) * fraction, detail });
  }

  private check(): void {
    if (this.options.signal.aborted) {
      throw new HunchError('cancelled', 'The calibration was stopped. Start it again to go on from there.');
    }
  }
}

/** Plans that a pack's stops have; they are judged like new ones. */
function ofPack(pack: LoadedPack | null): Candidate[] {
  return limitedStops.flatMap((stop) => {
    const plan = pack?.info.stops[stop];
    // Predictors of another calibration are not there to run them.
    if (!plan || plan.layers.some(({ mlp, headThreshold }) => mlp === 'predicted' || headThreshold !== null)) return [];
    return [{ plan, name: `${stop} of the pack that is there`, speedup: 1, rise: 0 }];
  });
}

/** Whole documents of all kinds in turns: how much of a copy of the output head is checked depends on the text. */
function mixed(windows: readonly Window[]): Int32Array {
  const lists = textKinds.map((kind) => windows.filter((window) => window.kind === kind));
  const longest = Math.max(...lists.map(({ length }) => length));
  const inTurns = Array.from({ length: longest }, (_, i) => lists.map((list) => list[i]?.tokens ?? [])).flat();
  return Int32Array.from(inTurns.flatMap((tokens) => [...tokens]));
}

function once(): (candidate: Candidate) => boolean {
  const seen = new Set<string>();
  return ({ plan }) => !seen.has(keyOf(plan)) && Boolean(seen.add(keyOf(plan)));
}

function nothingFound({ info }: Runtime, missed: boolean): HunchError {
  return new HunchError(
    'pack-invalid',
    missed
      ? `${info.name} gets no pack: what ran faster than dense missed its limit of quality on text that it was not chosen on. It goes on as before.`
      : `${info.name} gets no pack: on this machine no way to skip parts of it was both faster than dense and within its limit of quality. It goes on as before.`,
  );
}
