import { HunchError } from '../contract/errors';
import type { TensorType } from '../engine/addon';
import { loadAddon } from '../engine/native';
import type { Shape } from '../models/synthetic/shapes';
import { syntheticLabel } from '../models/synthetic/shapes';
import type { Spread, StreamFigures } from './measure';
import { fixedPrompt, logitsHash, stepRates, streamRates } from './measure';
import { circumstances, library, openResolved } from './open';
import type { ModelOptions } from './options';
import { print, printJson, progressLine } from './output';
import { shapeFile } from './shape';

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
  const runtime = await openResolved(resolved, options);
  try {
    const { info } = runtime;
    const context = Math.max(depth + Math.max(pp, tg), options.stream ? pp + tg : 0);
    if (context > info.trainedContext) {
      throw new HunchError(
        'context-overflow',
        `This measurement needs ${context} tokens, but the model's context is ${info.trainedContext}. Choose smaller --pp, --tg or --depth.`,
      );
    }
    const progress = progressLine();
    const session = runtime.openSession(Math.min(Math.max(context, logitTokens), info.trainedContext));
    const shown =
      (label: string) =>
      (run: number): void =>
        progress.show(`${label}: ${run === 0 ? 'warm-up' : `${run}/${repetitions}`}`);
    const at = depth > 0 ? `@d${depth}` : '';
    const rates: Record<string, Spread> = {};
    for (const [label, prompt, decode] of [[`pp${pp}${at}`, pp, 0] as const, [`tg${tg}${at}`, 0, tg] as const]) {
      if (prompt + decode === 0) continue;
      rates[label] = await stepRates(session, { prompt, decode, depth }, repetitions, shown(label));
    }
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
    progress.show('read bandwidth');
    const readGBps = await loadAddon().readBandwidth(info.threads, info.weightBytesPerToken);
    progress.end();
    const decode = rates[`tg${tg}${at}`];
    const achievedGBps = decode && (info.weightBytesPerToken * decode.mean) / 1e9;
    const hash = logitsHash(logits);
    if (options.json) {
      printJson({
        command: 'bench',
        ...circumstances(runtime, resolved),
        ...(shape ? { synthetic: syntheticLabel } : {}),
        ...{ repetitions, depth, loadMs: info.loadMs, parameterCount: info.parameterCount },
        ...rates,
        ...(stream ? { stream } : {}),
        ...{ weightBytesPerToken: info.weightBytesPerToken, achievedGBps, readGBps },
        logitsSha256: hash,
      });
      return;
    }
    print(
      `${resolved.name} ${info.quantization}, ${info.isa}, ${info.threads} threads, ${repetitions} runs each` +
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
      print(
        `weights ${(info.weightBytesPerToken / 1e6).toFixed(1)} MB per token: ${achievedGBps.toFixed(1)} GB/s of ` +
          `${readGBps.toFixed(1)} GB/s that this machine reads (${((100 * achievedGBps) / readGBps).toFixed(0)} %)`,
      );
    }
    print(`logits  ${hash.slice(0, 16)}`);
  } finally {
    await runtime.close();
  }
}

/** Without the keys that are undefined. */
function defined<T extends object>(options: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}
