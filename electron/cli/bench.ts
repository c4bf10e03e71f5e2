import { createHash } from 'node:crypto';
import { loadAddon } from '../engine/native';
import { circumstances, openModel } from './open';
import type { ModelOptions } from './options';
import { print, printJson, progressLine } from './output';

const promptTokens = 512;
const decodeTokens = 128;

export interface BenchOptions extends ModelOptions {
  repetitions: number;
}

export interface Spread {
  mean: number;
  sd: number; // of the sample
}

export function spread(values: number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, sd: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}

/** Vocabulary ids that any model has, spread over it; the same ones every time. */
export function fixedPrompt(length: number, vocabulary: number): Int32Array {
  return Int32Array.from({ length }, (_, index) => ((index + 1) * 7919) % vocabulary);
}

/**
 * SHA-256 over logits rounded to 1/64 (as little-endian int32): what thread counts must agree on to the bit, and a
 * change of a kernel may shift by less than that. Kernels of another instruction set round differently, so their
 * hashes may differ.
 */
export function logitsHash(logits: Float32Array): string {
  const rounded = Int32Array.from(logits, (logit) => Math.round(logit * 64));
  return createHash('sha256').update(Buffer.from(rounded.buffer)).digest('hex');
}

/** `hunch bench`: prefill of 512 tokens, 128 decode steps, each from an empty cache. */
export async function bench(options: BenchOptions): Promise<void> {
  const { runtime, resolved } = await openModel(options);
  try {
    const { info } = runtime;
    const progress = progressLine();
    const session = runtime.openSession(Math.min(promptTokens, info.trainedContext));
    const rates = async (prompt: number, decode: number, label: string): Promise<Spread> => {
      const values: number[] = [];
      for (let run = 0; run <= options.repetitions; run++) {
        progress.show(`${label}: ${run === 0 ? 'warm-up' : `${run}/${options.repetitions}`}`);
        const { prefillMs, decodeMs } = await session.bench(prompt, decode);
        if (run > 0) values.push(decode > 0 ? (decode / decodeMs) * 1000 : (prompt / prefillMs) * 1000);
      }
      return spread(values);
    };
    const prefill = await rates(promptTokens, 0, `pp${promptTokens}`);
    const decode = await rates(0, decodeTokens, `tg${decodeTokens}`);
    progress.show('logits');
    const hash = logitsHash(await session.logits(fixedPrompt(64, runtime.vocabularySize)));
    session.close();
    progress.show('read bandwidth');
    const readGBps = await loadAddon().readBandwidth(info.threads, info.weightBytesPerToken);
    progress.end();
    const achievedGBps = (info.weightBytesPerToken * decode.mean) / 1e9;
    if (options.json) {
      printJson({
        command: 'bench',
        ...circumstances(runtime, resolved),
        ...{ repetitions: options.repetitions, loadMs: info.loadMs, parameterCount: info.parameterCount },
        [`pp${promptTokens}`]: prefill,
        [`tg${decodeTokens}`]: decode,
        ...{ weightBytesPerToken: info.weightBytesPerToken, achievedGBps, readGBps },
        logitsSha256: hash,
      });
      return;
    }
    const shown = ({ mean, sd }: Spread): string => `${mean.toFixed(1).padStart(8)} ± ${sd.toFixed(1)} tok/s`;
    print(
      `${resolved.name} ${info.quantization}, ${info.isa}, ${info.threads} threads, ${options.repetitions} runs each`,
    );
    print(`prefill pp${promptTokens}  ${shown(prefill)}`);
    print(`decode  tg${decodeTokens}  ${shown(decode)}`);
    print(
      `weights ${(info.weightBytesPerToken / 1e6).toFixed(1)} MB per token: ${achievedGBps.toFixed(1)} GB/s of ` +
        `${readGBps.toFixed(1)} GB/s that this machine reads (${((100 * achievedGBps) / readGBps).toFixed(0)} %)`,
    );
    print(`logits  ${hash.slice(0, 16)}`);
  } finally {
    await runtime.close();
  }
}
