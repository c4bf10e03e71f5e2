import { mkdir } from 'node:fs/promises';
import { cpus } from 'node:os';
import path from 'node:path';
import { version } from '../../package.json';
import { HunchError } from '../contract/errors';
import type { CalibrationPhase, CalibrationStatus, FrontierPoint } from '../contract/sparsity';
import type { NativeSession, Plan, Predictors } from '../engine/addon';
import { hashOf, packTarget, readPack, whereItsPackLies } from '../engine/modelPack';
import { fromNative } from '../engine/nativeError';
import type { Runtime } from '../engine/runtime';
import { Journal } from './journal';
import { compareOn, keyOf, measureSpeeds, qualityByKind, qualityOf, type Speed } from './measure';
import type { GateCurve } from './gates';
import { packFormat, packFrequencies, packModel, type Pack, type PackPredictors, type PackStop } from './pack';
import { corrected, exactPlan, keepsState } from './position';
import { hasZeros, Search, type Candidate, type SearchResult } from './search';
import { chooseStops, limitedStops, pointOf, type Chosen, type Judged, type Measured } from './stops';
import { packPath, writePack, type LoadedPack } from './store';
import { canPay, forgetTraining, train, type Trained } from './training';
import { calibrationText, portion, textKinds, type CalibrationText, type Window } from './text';

export interface CalibrateOptions {
  /** Looked at often; once it is set the promise rejects as `cancelled`, and the next run goes on from there. */
  signal: { aborted: boolean };
  onStatus(status: CalibrationStatus): void;
  /** A text of the user's: the stops must hold their limits on it, too. */
  sample?: string;
  /** How long it may take, about; slow models are measured on less text. */
  seconds?: number;
  /** Another folder for the pack than the model's own (RuntimeOptions.packFolder). */
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

/** Plans that are tried with dense correction as well, the fastest ones: each costs a timing. */
const mostCorrected = 2;
const mostCaptured = 40_000; // tokens to train predictors on

/** What predictors are trained on, between two runs. */
const stateFile = (target: string): string => `${packPath(target)}.capture`;

/** How much of the whole each phase takes. */
const spans: Record<CalibrationPhase | 'sensitivity', [number, number]> = {
  capture: [0, 0.1],
  sensitivity: [0.1, 0.2], // the first of the thresholds
  training: [0.2, 0.45],
  thresholds: [0.45, 0.6],
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
  const target = options.folder === undefined ? runtime.packTarget : packTarget(runtime.spec.path, options.folder);
  await mkdir(path.dirname(target), { recursive: true });
  const own = path.dirname(runtime.packTarget);
  // A pack for another folder replaces only one that lies there.
  const known = await (options.folder === undefined
    ? whereItsPackLies(runtime.spec.path, own)
    : whereItsPackLies(target));
  const sha256 = await hashOf(runtime.spec.path);
  const { isa } = runtime.info;
  const identity = JSON.stringify([version, sha256, isa, options.sample ?? null, options.seconds ?? null]);
  const journal = new Journal(`${packPath(target)}.progress.json`, identity);
  const session = runtime.openSession(Math.min(sessionTokens, runtime.info.trainedContext));
  try {
    journal.save(); // a folder that cannot be written to is better known now
    const result = await new Calibrator(runtime, session, journal, options, { target, sha256, known }).run();
    journal.remove();
    forgetTraining(stateFile(target));
    return result;
  } catch (error) {
    const known = fromNative(error);
    if (known instanceof HunchError && known.code === 'pack-invalid') {
      journal.remove();
      forgetTraining(stateFile(target));
    } else journal.save();
    throw known;
  } finally {
    session.close();
    // The new pack, or the old one again.
    const place = await whereItsPackLies(runtime.spec.path, own);
    await runtime.sparsity.usePack(await readPack(runtime.spec, place));
  }
}

/** Plans that run with the same predictors. */
interface Contender {
  candidates: Candidate[];
  predictors: Predictors | null;
  info: PackPredictors;
}

class Calibrator {
  private trained: Trained | null = null;
  /** Tokens a second of decode steps. */
  private rate = 0;

  constructor(
    private readonly runtime: Runtime,
    private readonly session: NativeSession,
    private readonly journal: Journal,
    private readonly options: CalibrateOptions,
    private readonly model: { target: string; sha256: string; known: string | null },
  ) {}

  async run(): Promise<CalibrationResult> {
    const { runtime } = this;
    const { spec } = runtime;
    const zeros = hasZeros(spec);
    const lossless = zeros ? exactPlan(spec.layers) : null;
    const { target } = this.model;
    const known = (await readPack(spec, this.model.known)).pack;
    this.status('capture', 0, 'Writing text to calibrate on.');
    // Predictors that are tried are set in the model; no chat may run on them.
    await runtime.sparsity.usePack({ pack: null, problem: null });
    const written = await this.write(lossless);
    const bench = mixed(written.heldOut);
    const found = await this.search(written, bench);
    const own: Contender = {
      candidates: [...found.candidates, ...ofPack(known, false)].filter(once()),
      predictors: this.trained?.predictors ?? null,
      info: { mlp: this.trained?.info ?? none(spec.layers), heads: none(spec.layers) },
    };
    const contenders = [own];
    if (known?.predictors) {
      const { info, predictors } = known;
      contenders.push({ candidates: ofPack(known, true).filter(once()), predictors, info: info.predictors });
    }
    let best: { chosen: Chosen; contender: Contender } | null = null;
    for (const contender of contenders) {
      const chosen = await this.choose(contender, lossless, written, bench);
      if (!best || gain(chosen) > gain(best.chosen)) best = { chosen, contender };
    }
    const { chosen, contender } = best!;
    if (chosen.frontier.length === 1) throw nothingFound(runtime);
    const predictors = needed(chosen, contender.predictors);
    const pack = this.pack(chosen, predictors && contender.info, found.sensitivity, written.heldOut);
    this.check();
    return { path: await writePack(target, pack, predictors), pack, notes: chosen.notes };
  }

  /** Times and judges one set of plans, which share their predictors. */
  private async choose(
    { candidates, predictors }: Contender,
    lossless: Plan | null,
    { heldOut }: CalibrationText,
    bench: Int32Array,
  ): Promise<Chosen> {
    this.session.setPlan(null);
    if (predictors) await this.runtime.model.setPredictors(predictors);
    // Correction is tried as well: it may hold a limit that the plan alone does not.
    const tried = [
      ...candidates,
      ...candidates
        .filter(({ plan }) => !keepsState(plan))
        .slice(0, mostCorrected)
        .map(withIt),
    ];
    const [dense, exact, ...speeds] = await this.speeds([null, lossless, ...tried.map(({ plan }) => plan)], bench);
    const measured = tried
      .map(({ plan, rise }, i): Measured => ({ plan, rise, speed: speeds[i]! }))
      .filter(({ speed }) => speed.speedup >= slowest);
    const before = await this.lossless(lossless, [dense!, exact!], heldOut);
    const chosen = await chooseStops(measured, before, (candidate, stop) => this.judge(candidate, stop, heldOut));
    return { ...chosen, frontier: await this.withCorrection(chosen, heldOut, bench) };
  }

  /** What dense correction would give at the stops whose keys and values it changes. */
  private async withCorrection(
    { stops, frontier }: Chosen,
    heldOut: Window[],
    bench: Int32Array,
  ): Promise<Chosen['frontier']> {
    const plans = frontier.map(({ stop }) => (stop === 'dense' ? undefined : stops[stop]));
    const lossy = [
      ...new Map(
        plans.flatMap((plan) =>
          plan && !plan.correctEvery && !keepsState(plan) ? [[keyOf(plan), plan] as const] : [],
        ),
      ),
    ];
    if (lossy.length === 0) return frontier;
    const onCorrection = (): void => this.status('audit', 1, 'Timing and judging dense correction.');
    const timed = [null, ...lossy.map(([, plan]) => corrected(plan))];
    const [, ...speeds] = await this.speeds(timed, bench, onCorrection);
    const found = new Map<string, FrontierPoint['corrected']>();
    const windows = portion(heldOut, 0.5);
    for (const [i, [key, plan]] of lossy.entries()) {
      onCorrection();
      const results = await this.compare(corrected(plan), windows, 'corrected');
      const kinds = Object.values(qualityByKind(windows, results));
      const { tokensPerSecond, speedup } = speeds[i]!;
      found.set(key, { tokensPerSecond, speedup, perplexityRatio: Math.max(...kinds.map(({ ratio }) => ratio)) });
    }
    return frontier.map((point, i) => {
      const figures = plans[i] && found.get(keyOf(plans[i]));
      return figures ? { ...point, corrected: figures } : point;
    });
  }

  private async write(lossless: Plan | null): Promise<CalibrationText> {
    const { session, runtime, options, journal } = this;
    session.setPlan(lossless);
    this.rate = await journal.remember('decode rate', async () => {
      const steps = 16;
      return (steps / (await session.bench(0, steps)).decodeMs) * 1000;
    });
    const tokens = Math.round(
      Math.min(text.most, Math.max(text.least, ((options.seconds ?? usualSeconds) * this.rate) / 8)),
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
      onStep: (fraction, detail) =>
        this.status(
          fraction < 0.35 ? 'sensitivity' : 'thresholds',
          Math.max(0, fraction < 0.35 ? fraction / 0.35 : (fraction - 0.35) / 0.65),
          detail,
        ),
      furtherChoices: (curves, costs) => this.train(written, curves, costs),
      check: () => this.check(),
    }).run();
  }

  /** In most models predictors cost more than they save, or there is nothing to predict. */
  private async train(written: CalibrationText, curves: GateCurve[], costs: number[]): Promise<Trained['choices']> {
    const { runtime, session, journal } = this;
    if (!hasZeros(runtime.spec)) return [];
    const pays = await journal.remember('predictors pay', () =>
      canPay(runtime, session, mixed(written.heldOut), () => this.check()),
    );
    if (!pays) return [];
    const seconds = this.options.seconds ?? usualSeconds;
    this.trained = await train(runtime, {
      ...{ session, journal, curves, costs, stateFile: stateFile(this.model.target) },
      probe: portion(written.search, 0.15),
      tokens: Math.min(mostCaptured, Math.round(0.2 * seconds * this.rate)),
      seconds: 0.4 * seconds,
      onProgress: (fraction, detail) => this.status('training', fraction, detail),
      check: () => this.check(),
    });
    return this.trained.choices;
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

  private speeds(plans: (Plan | null)[], bench: Int32Array, status = this.timing): Promise<Speed[]> {
    status(0);
    return measureSpeeds(this.session, plans, {
      ...{ text: bench, steps: 96, depth: Math.min(256, bench.length >> 2), rounds: 7 },
      neurons: this.runtime.spec.ffnWidth,
      onRound: (done, rounds) => status(done / rounds),
    });
  }
  private readonly timing = (fraction: number): void =>
    this.status('measuring', fraction, 'Timing what was found, beside dense.');

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

  private pack(
    { stops, frontier }: Chosen,
    predictors: PackPredictors | null,
    sensitivity: number[],
    heldOut: Window[],
  ): Pack {
    const { spec, info } = this.runtime;
    const date = new Date().toISOString();
    return {
      format: packFormat,
      model: packModel(spec, { sha256: this.model.sha256, fileName: path.basename(spec.path) }),
      created: date,
      hunch: version,
      predictors: predictors ?? { mlp: none(spec.layers), heads: none(spec.layers) },
      sensitivity,
      ...(this.trained ? { frequencies: packFrequencies(this.trained.frequencies) } : {}),
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

  private status(span: keyof typeof spans, fraction: number, detail: string): void {
    this.check();
    const [from, to] = spans[span];
    const phase = span === 'sensitivity' ? 'thresholds' : span;
    this.options.onStatus({ phase, fraction: from + (to - from) * fraction, detail });
  }

  private check(): void {
    if (this.options.signal.aborted) {
      throw new HunchError('cancelled', 'The calibration was stopped. Start it again to go on from there.');
    }
  }
}

/** What it rises by then is for the audit to tell. */
function withIt({ plan, name, speedup }: Candidate): Candidate {
  return { plan: corrected(plan), name: `${name}, corrected`, speedup, rise: 0 };
}

/** Plans that a pack's stops have; they are judged like new ones. */
function ofPack(pack: LoadedPack | null, withPredictors: boolean): Candidate[] {
  return limitedStops.flatMap((stop) => {
    const plan = pack?.info.stops[stop];
    if (!plan || (!withPredictors && usesPredictors(plan))) return [];
    return [{ plan, name: `${stop} of the pack that is there`, speedup: 1, rise: 0 }];
  });
}

function usesPredictors({ layers }: Plan): boolean {
  return layers.some(({ mlp, headThreshold }) => mlp === 'predicted' || headThreshold !== null);
}

/** Null where no stop reads them. */
function needed({ stops }: Chosen, predictors: Predictors | null): Predictors | null {
  return Object.values(stops).some(usesPredictors) ? predictors : null;
}

/** Mean logarithm of how much faster than dense the stops are; a stop that is missing is dense. */
function gain({ frontier }: Chosen): number {
  return frontier.reduce((sum, { speedup }) => sum + Math.log(speedup), 0);
}

function none(layers: number): null[] {
  return Array.from({ length: layers }, () => null);
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

function nothingFound({ info }: Runtime): HunchError {
  return new HunchError(
    'pack-invalid',
    `${info.name} gets no pack: on this machine no way to skip parts of it was both faster than dense and within its limit of quality ` +
      'on text that it was not chosen on. It goes on as before.',
  );
}
