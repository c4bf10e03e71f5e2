import { createHash } from 'node:crypto';
import type { NativeSession } from '../engine/addon';

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

/** What the engine's own thread does: prompt and decode steps with fixed ids after `depth` tokens of context. */
export interface Steps {
  prompt: number;
  decode: number;
  depth: number;
  /** Default: fixed ids. */
  text?: Int32Array;
}

/** Tokens per second of the prompt, or of the decode steps where there are any; the first run is not counted. */
export async function stepRates(
  session: NativeSession,
  { prompt, decode, depth, text }: Steps,
  repetitions: number,
  onRun: (run: number) => void,
): Promise<Spread> {
  const values: number[] = [];
  for (let run = 0; run <= repetitions; run++) {
    onRun(run);
    const { prefillMs, decodeMs } = await session.bench(prompt, decode, depth, text);
    if (run > 0) values.push(decode > 0 ? (decode / decodeMs) * 1000 : (prompt / prefillMs) * 1000);
  }
  return spread(values);
}

export interface StreamFigures {
  promptTokens: number;
  tokens: number;
  timeToFirstTokenMs: Spread;
  tokensPerSecond: Spread;
}

/**
 * What a program in JavaScript sees: a prompt that no cache knows goes in, tokens come out through the callback, the
 * likeliest one each time. The first run is not counted.
 */
export async function streamRates(
  session: NativeSession,
  { prompt, decode, vocabulary }: { prompt: number; decode: number; vocabulary: number },
  repetitions: number,
  onRun: (run: number) => void,
): Promise<StreamFigures> {
  const first: number[] = [];
  const rates: number[] = [];
  for (let run = 0; run <= repetitions; run++) {
    onRun(run);
    // Another first token each time, so that no run finds its prompt in the cache.
    const tokens = fixedPrompt(prompt + run, vocabulary).subarray(run);
    const begin = performance.now();
    let firstAt = 0;
    let lastAt = 0;
    let count = 0;
    await session.generate(tokens, { ...greedy, maxTokens: decode }, (event) => {
      if (event.type !== 'tokens') return;
      lastAt = performance.now();
      if (count === 0) firstAt = lastAt;
      count += event.ids.length;
    });
    if (run === 0) continue;
    first.push(firstAt - begin);
    rates.push(((count - 1) / (lastAt - firstAt)) * 1000);
  }
  return {
    promptTokens: prompt,
    tokens: decode,
    timeToFirstTokenMs: spread(first),
    tokensPerSecond: spread(rates),
  };
}

const greedy = {
  ...{ temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 0, seed: 0 },
  stopTokens: [],
};
