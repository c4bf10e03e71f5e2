import { HunchError } from '../contract/errors';
import type { TensorType } from '../engine/addon';
import { loadAddon } from '../engine/native';
import type { Runtime } from '../engine/runtime';
import type { Shape } from '../models/synthetic/shapes';
import { syntheticLabel } from '../models/synthetic/shapes';
import type { Spread, StreamFigures } from './measure';
import { forcedDensity, forcedFromDisk, type DiskFigures, type ForcedFigures } from './density';
import { fixedPrompt, logitsHash, stepRates, streamRates } from './measure';
import { benchStops } from './benchStops';
import { circumstances, library, machineOf, openResolved, residencyOf } from './open';
import type { ModelOptions } from './options';
import { print, printJson, progressLine } from './output';
import { shapeFile } from './shape';
import { placeOf, planFor, plainText, textTokens } from './sparsity';

const logitTokens = 64;

export interface BenchOptions extends ModelOptions {
  repetitions: number;
  reps?: number;
  /** Random weights in place of a model. */
  shape?: Shape;
  type: TensorType;
  pp?: number;
  tg?: number;
  depth: number;
  stream?: boolean;
  /** Place of the slider; 'all': every stop that the model has. */
  sparsity?: number | 'all';
  /** To run and to judge on. */
  text?: string;
  /** Windows of it to judge on. */
  chunks: number;
  /** Of a shape: share of the neurons to compute. */
  density?: number;
  /** Of a shape: share of the heads to compute. */
  heads?: number;
}

/** A real shape with billions of weights takes seconds where the starter takes milliseconds. */
const usual = { model: { pp: 512, tg: 128 }, shape: { pp: 32, tg: 16 } };

/** `hunch bench`: a prefill, decode steps, each after `depth` tokens of context. */
export async function bench(options: BenchOptions): Promise<void> {
  const { shape, type, depth } = options;
  const repetitions = options.reps ?? options.repetitions;
  const { pp, tg } = { ...usual[shape ? 'shape' : 'model'], ...defined({ pp: options.pp, tg: options.tg }) };
  if (pp + tg === 0) throw new HunchError('bad-request', 'With --pp 0 and --tg 0 there is nothing to measure.');
  const resolved = shape
    ? { id: `shape:${shape.name}`, name: `${shape.name} shape`, path: await shapeFile(shape, type) }
    : await library().resolve(options.model);
  if (options.density !== undefined && !shape) {
    throw new HunchError(
      'bad-request',
      '--density forces random weights to be sparse and goes with --shape; a real model is as sparse as it is. Use --sparsity there.',
    );
  }
  if (options.heads !== undefined && options.density === undefined) {
    throw new HunchError('bad-request', '--heads says how many heads steps with a --density compute. Give one, too.');
  }
  const runtime = await openResolved(resolved, options);
  try {
    const { info } = runtime;
    const { sparsity } = options;
    if (sparsity === 'all') return await benchStops(runtime, resolved, options);
    const plan = planFor(runtime, sparsity);
    const text = await benchText(runtime, options);
    const context = Math.max(depth + Math.max(pp, tg), options.stream ? pp + tg : 0);
    if (context > info.trainedContext) {
      throw new HunchError(
        'context-overflow',
        `This measurement needs ${context} tokens, but the model's context is ${info.trainedContext}. Choose smaller --pp, --tg or --depth.`,
      );
    }
    const progress = progressLine();
    const session = runtime.openSession(Math.min(Math.max(context, logitTokens), info.trainedContext));
    session.setPlan(plan);
    const shown =
      (label: string) =>
      (run: number): void =>
        progress.show(`${label}: ${run === 0 ? 'warm-up' : `${run}/${repetitions}`}`);
    const at = depth > 0 ? `@d${depth}` : '';
    const rates: Record<string, Spread> = {};
    for (const [label, prompt, decode] of [[`pp${pp}${at}`, pp, 0] as const, [`tg${tg}${at}`, 0, tg] as const]) {
      if (prompt + decode === 0) continue;
      rates[label] = await stepRates(
        session,
        { prompt, decode, depth, ...(text ? { text } : {}) },
        repetitions,
        shown(label),
      );
    }
    const { tokens, bytes, computed } = session.activity();
    const residency =
      options.memory === undefined || tokens === 0
        ? undefined
        : { ...residencyOf(runtime, tokens), budget: options.memory };
    const bytesPerToken = plan && tokens > 0 ? bytes / tokens : info.weightBytesPerToken;
    const computedShare =
      tokens > 0
        ? computed.reduce((sum, value) => sum + value, 0) / tokens / computed.length / runtime.spec.ffnWidth
        : 1;
    let stream: StreamFigures | undefined;
    if (options.stream) {
      const work = { prompt: Math.max(pp, 1), decode: Math.max(tg, 2), vocabulary: runtime.vocabularySize };
      stream = await streamRates(session, work, repetitions, shown('stream'));
    }
    progress.show('logits');
    const logits = await session.logits(
      fixedPrompt(Math.min(logitTokens, info.trainedContext), runtime.vocabularySize),
    );
    if (!logits.every(Number.isFinite)) {
      throw new HunchError(
        'model-invalid',
        `${resolved.path} gives logits that are not numbers, so its speed says nothing. Get the file again.`,
      );
    }
    session.close();
    let forced: ForcedFigures | undefined;
    let disk: DiskFigures | undefined;
    if (options.density !== undefined && options.memory !== undefined && tg > 0) {
      disk = await forcedFromDisk(runtime, options.density, { tg, repetitions }, (what) => progress.show(what));
    } else if (options.density !== undefined && tg > 0) {
      forced = await forcedDensity(
        runtime,
        { density: options.density, heads: options.heads },
        { tg, depth, repetitions },
        (what) => progress.show(what),
      );
    }
    progress.show('read bandwidth');
    // A buffer as large as the weights is what --memory rules out.
    const readGBps =
      options.memory === undefined
        ? await loadAddon().readBandwidth(info.threads, info.weightBytesPerToken)
        : undefined;
    progress.end();
    const decode = rates[`tg${tg}${at}`];
    const achievedGBps = decode && (bytesPerToken * decode.mean) / 1e9;
    const hash = logitsHash(logits);
    if (options.json) {
      printJson({
        command: 'bench',
        ...circumstances(runtime, resolved),
        ...(shape ? { synthetic: syntheticLabel } : {}),
        ...{ repetitions, depth, loadMs: info.loadMs, parameterCount: info.parameterCount },
        ...rates,
        ...(stream ? { stream } : {}),
        ...{ sparsity: placeOf(runtime, sparsity), density: computedShare, bytesPerToken },
        ...{ weightBytesPerToken: info.weightBytesPerToken, achievedGBps, readGBps },
        ...(forced ? { forced: { density: options.density, heads: options.heads ?? 1, ...forced } } : {}),
        ...(residency ? { residency } : {}),
        ...(disk ? { disk } : {}),
        logitsSha256: hash,
      });
      return;
    }
    print(
      `${resolved.name} ${info.quantization}, ${machineOf(info)}, ${placeOf(runtime, sparsity)}, ${repetitions} runs each` +
        (shape ? ` (${syntheticLabel})` : ''),
    );
    for (const [label, { mean, sd }] of Object.entries(rates)) {
      const what = label.startsWith('pp') ? 'prefill' : 'decode ';
      print(`${what} ${label.padEnd(6)} ${mean.toFixed(1).padStart(8)} ± ${sd.toFixed(1)} tok/s`);
    }
    if (stream) {
      const { timeToFirstTokenMs: first, tokensPerSecond: rate } = stream;
      print(
        `stream  ${stream.promptTokens} + ${stream.tokens} tokens: first after ${first.mean.toFixed(1)} ± ${first.sd.toFixed(1)} ms, ` +
          `then ${rate.mean.toFixed(1)} ± ${rate.sd.toFixed(1)} tok/s`,
      );
    }
    if (achievedGBps !== undefined) {
      const machine =
        readGBps === undefined
          ? ''
          : ` of ${readGBps.toFixed(1)} GB/s that this machine reads (${((100 * achievedGBps) / readGBps).toFixed(0)} %)`;
      print(`weights ${(bytesPerToken / 1e6).toFixed(1)} MB per token: ${achievedGBps.toFixed(1)} GB/s${machine}`);
    }
    if (residency) {
      print(
        `disk    ${(100 * residency.hitShare).toFixed(1)} % of the neurons asked for were in memory; ` +
          `${(residency.readBytesPerToken / 1e6).toFixed(1)} MB read per token, ${(1e3 * residency.waitedSecondsPerToken).toFixed(1)} ms waited`,
      );
    }
    if (disk)
      print(
        `sparse  ${disk.tokensPerSecond.mean.toFixed(2)} tok/s, ${(100 * disk.density).toFixed(1)} % of the neurons computed`,
      );
    if (forced) printForced(forced);
    print(`logits  ${hash.slice(0, 16)}`);
  } finally {
    await runtime.close();
  }
}

/** Language, where what a plan skips depends on it; undefined: fixed ids. */
async function benchText(runtime: Runtime, { text, sparsity }: BenchOptions): Promise<Int32Array | undefined> {
  if (text !== undefined) return textTokens(runtime, text);
  return sparsity === undefined ? undefined : Int32Array.from(await plainText(runtime));
}

function printForced({ dense, sparse, oracle, headShare }: ForcedFigures): void {
  const share = (value: number): string => `${(100 * value).toFixed(1)} %`;
  print(
    `sparse  ${sparse.tokensPerSecond.toFixed(1)} tok/s, ${sparse.speedup.toFixed(2)} × dense in turns (${dense.tokensPerSecond.toFixed(1)}): ` +
      `${share(sparse.density)} of the neurons computed, ${share(sparse.named)} named, ${share(headShare)} of the heads, ${(sparse.bytesPerToken / 1e6).toFixed(1)} MB per token, ` +
      `predictors ${share(sparse.predictorShare)} of the time`,
  );
  print(
    `oracle  ${oracle.tokensPerSecond.toFixed(1)} tok/s, ${oracle.speedup.toFixed(2)} × dense, ${(oracle.bytesPerToken / 1e6).toFixed(1)} MB per token`,
  );
}

/** Without the keys that are undefined. */
function defined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}
