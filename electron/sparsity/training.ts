import { existsSync, rmSync } from 'node:fs';
import type {
  LayerPlan,
  ModelSpec,
  NativeCalibration,
  NativeSession,
  Predictors,
  ScoreThreshold,
} from '../engine/addon';
import type { Runtime } from '../engine/runtime';
import { forceShare } from './forced';
import { droppedEnergy, gatedLayer, type GateCurve } from './gates';
import type { Journal } from './journal';
import { compareOn, measureSpeeds, qualityOf } from './measure';
import type { PackPredictors } from './pack';
import { exactPlan, whole } from './position';
import { trainingText, type Window } from './text';

/** Predictors that were fitted, and ways to run the layers with them. */
export interface Trained {
  predictors: Predictors;
  frequencies: Float32Array[]; // [layers][neurons] share of tokens in which each is active
  /** What a pack says of them. */
  info: PackPredictors['mlp'];
  choices: { name: string; layers: LayerPlan[] }[];
}

export interface TrainingOptions {
  session: NativeSession;
  journal: Journal;
  /** Where the capture waits for another run. */
  stateFile: string;
  /** To try them on while they learn. */
  probe: readonly Window[];
  curves: readonly GateCurve[];
  /** KL per dropped energy, by layer. */
  costs: readonly number[];
  tokens: number; // to capture
  seconds: number; // to fine-tune, at most
  onProgress(fraction: number, detail: string): void;
  /** May throw. */
  check(): void;
}

const source = 'attention'; // sees more of the layer's own input than the layer before does, and is early enough to fetch by
const rank = 64;
const recalls = [0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.993, 0.996, 0.998];
/** What the neurons that a predictor misses may cost together, in units of `costs`. */
const missLevels = [0.003, 0.01, 0.03, 0.1, 0.3];
const slices = 4; // of the fine-tuning, between which it is tried
const clearly = 1.03; // faster
const worthwhile = 0.97; // of the KL before: less gain ends the training

/**
 * Whether predictors can pay on this machine: steps with random ones that name twice as many neurons as are active must be faster
 * than `exact`, though they compute fewer than real ones would. Replaces the model's predictors.
 */
export async function canPay(
  { model, spec }: Runtime,
  session: NativeSession,
  text: Int32Array,
  check: () => void,
): Promise<boolean> {
  if (predictorCost(spec) > 0.5) return false;
  const exact = exactPlan(spec.layers);
  const options = { text, steps: 48, depth: Math.min(64, text.length >> 2), neurons: spec.ffnWidth, onRound: check };
  const [active] = await measureSpeeds(session, [exact], { ...options, rounds: 1 });
  const share = Math.min(0.9, 2 * active!.density);
  const plan = await forceShare(model, session, spec, { share, of: 'named', rank, later: source });
  const [, predicted] = await measureSpeeds(session, [exact, plan], { ...options, rounds: 5 });
  return predicted!.speedup > clearly;
}

/** Bytes of a predictor (half precision, then 8 bits) over those of a layer's gate at 4.5 bits. */
function predictorCost({ width, ffnWidth }: Pick<ModelSpec, 'width' | 'ffnWidth'>): number {
  return (rank * (2 * width + 1.125 * ffnWidth)) / (0.5625 * width * ffnWidth);
}

/**
 * Low-rank predictors of each layer's neurons, fitted to what the model did on text of its own; fine-tuned as long as they improve
 * the text that it writes with them. Leaves them set in the model. Errors: cancelled, those of the engine.
 */
export async function train(runtime: Runtime, o: TrainingOptions): Promise<Trained> {
  const calibration = await runtime.model.calibration({
    sources: [source],
    contextLength: 1024,
    sampleBytes: 384 << 20,
  });
  try {
    if (existsSync(o.stateFile)) await calibration.restore(o.stateFile).catch(() => {}); // of another version: begin anew
    let predictors: Predictors;
    try {
      await capture(runtime, calibration, o);
      predictors = await fit(runtime, calibration, o);
    } finally {
      await calibration.save(o.stateFile);
    }
    const thresholds: ScoreThreshold[][] = [];
    for (const recall of recalls) thresholds.push(await calibration.thresholds(recall));
    const usual = thresholds[recalls.indexOf(0.99)]!;
    return {
      predictors,
      frequencies: (await calibration.statistics()).layers.map(({ frequency }) => frequency),
      info: predictors.mlp.map(
        (predictor, i) =>
          predictor && {
            ...{ source: predictor.source, rank: predictor.rank, relu: predictor.relu },
            ...{ recall: usual[i]!.recall, density: usual[i]!.density },
          },
      ),
      choices: missLevels.flatMap((level) => {
        const layers = chooseLayers(runtime.spec, thresholds, o.curves, o.costs, level);
        return layers.some(({ mlp }) => mlp === 'predicted') ? [{ name: `predictors ${level}`, layers }] : [];
      }),
    };
  } finally {
    calibration.close();
  }
}

/** The capture is removed once a pack is written. */
export function forgetTraining(stateFile: string): void {
  rmSync(stateFile, { force: true });
}

async function capture(runtime: Runtime, calibration: NativeCalibration, o: TrainingOptions): Promise<void> {
  const detail = 'Listening to the model while it writes.';
  o.onProgress(0, detail);
  o.session.setPlan(exactPlan(o.costs.length));
  let { tokens } = await calibration.statistics();
  if (tokens >= o.tokens) return;
  for await (const window of trainingText(runtime, o.session, tokens)) {
    ({ tokens } = await calibration.capture(window));
    o.onProgress(0.5 * Math.min(1, tokens / o.tokens), detail);
    if (tokens >= o.tokens) break;
  }
}

async function fit(runtime: Runtime, calibration: NativeCalibration, o: TrainingOptions): Promise<Predictors> {
  const detail = 'Training predictors.';
  o.onProgress(0.5, detail);
  const finished = o.journal.has('predictors') && (await calibration.fitted().catch(() => null));
  if (finished) {
    await runtime.model.setPredictors(finished);
    return finished;
  }
  let best = await calibration.fit({ source, rank });
  let bestKl = await inLoop(runtime, calibration, best, o);
  for (let slice = 0; slice < slices; slice++) {
    const next = await calibration.fit({ source, rank, fineTuneSeconds: o.seconds / slices }, ({ fraction }) => {
      try {
        o.onProgress(0.5 + (0.5 * (slice + fraction)) / slices, detail);
      } catch {
        calibration.cancel(); // an error must not pass through the engine; the next step throws it again
      }
    });
    o.check();
    const kl = await inLoop(runtime, calibration, next, o);
    const ended = !(kl < worthwhile * bestKl);
    // Thresholds are of the predictors fitted last, so these are kept unless they are clearly worse.
    best = next;
    bestKl = kl;
    if (ended) break;
  }
  await o.journal.remember('predictors', async () => bestKl);
  return best;
}

/** KL to dense of a text that runs with the predictors, at thresholds that name 0.98 of the neurons. */
async function inLoop(
  runtime: Runtime,
  calibration: NativeCalibration,
  predictors: Predictors,
  { session, probe, check }: TrainingOptions,
): Promise<number> {
  session.setPlan(null);
  await runtime.model.setPredictors(predictors);
  const thresholds = await calibration.thresholds(0.98);
  const layers = thresholds.map(({ threshold }) => predictedLayer(threshold));
  const plan = { layers, vocabulary: whole };
  return qualityOf(await compareOn(session, plan, probe, check)).kl;
}

function predictedLayer(scoreThreshold: number): LayerPlan {
  return { ...gatedLayer(0), mlp: 'predicted', scoreThreshold };
}

/** Of each layer the cheapest of exact and the recalls, such that what they miss costs `level` in all. */
function chooseLayers(
  spec: ModelSpec,
  thresholds: readonly ScoreThreshold[][],
  curves: readonly GateCurve[],
  costs: readonly number[],
  level: number,
): LayerPlan[] {
  const fixed = predictorCost(spec);
  const options = costs.map((cost, layer) => [
    { bytes: 1, miss: 0, plan: gatedLayer(0) },
    ...thresholds.map((byLayer) => {
      const { threshold, density, massRecall } = byLayer[layer]!;
      const miss = cost * droppedEnergy(curves[layer]!, Infinity) * (1 - massRecall);
      return { bytes: fixed + density, miss, plan: predictedLayer(threshold) };
    }),
  ]);
  const at = (price: number): (typeof options)[number] =>
    options.map((list) => list.reduce((a, b) => (b.bytes + price * b.miss < a.bytes + price * a.miss ? b : a)));
  let [cheap, dear] = [1e-6, 1e9]; // of a unit of what is missed, in gates
  for (let step = 0; step < 60; step++) {
    const middle = Math.sqrt(cheap * dear);
    if (at(middle).reduce((sum, { miss }) => sum + miss, 0) > level) cheap = middle;
    else dear = middle;
  }
  return at(dear).map(({ plan }) => plan);
}
