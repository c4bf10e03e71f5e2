import type { Edit } from '../contract/activity';
import { HunchError } from '../contract/errors';
import { stepMs } from '../contract/frames';
import type { GenerateOptions, NativeSession, Plan, TokensEvent } from './addon';
import { fromNative } from './nativeError';

export interface RerunRequest {
  prompt: Int32Array;
  /** Tokens to run after it; null: they are drawn anew. */
  follow: Int32Array | null;
  sampling: GenerateOptions;
  plan: Plan | null;
  edits: Edit[];
  auditEvery: number;
}

export interface RerunResult {
  ids: number[];
  frames: (Uint8Array | null)[];
  /** −ln p of each token, nats. */
  surprise: Float32Array;
  /** Of the steps that were not audited, by their own clocks: capturing and auditing would slow down one place more than another. */
  tokensPerSecond: number;
  /** Mean KL(dense ‖ plan) on these tokens, nats; null with edits. */
  kl: number | null;
}

export interface Signal {
  aborted: boolean;
}

/**
 * Runs a reply again in a session of its own, captured whole. Errors: cancelled (`signal`, with the session stopped), those of the engine.
 */
export async function rerun(
  session: NativeSession,
  { prompt, follow, sampling, plan, edits, auditEvery }: RerunRequest,
  signal: Signal,
): Promise<RerunResult> {
  try {
    refuseCancelled(signal);
    session.setPlan(plan);
    if (edits.length > 0) session.setEdits(edits);
    const written = new Written();
    session.setCapture({ mode: 'full', auditEvery });
    const ran = follow
      ? { surprise: await session.trace(concat(prompt, follow), prompt.length, written.take), rate: written.rate }
      : { surprise: null, rate: await draw(session, prompt, sampling, written) };
    refuseCancelled(signal);
    session.setCapture({ mode: 'off', auditEvery: 0 });
    const { ids, frames } = written;
    const tokens = concat(prompt, Int32Array.from(ids));
    const surprise =
      ran.surprise ?? (ids.length > 0 ? await session.trace(tokens, prompt.length, () => {}) : new Float32Array(0));
    refuseCancelled(signal);
    const kl = edits.length > 0 ? null : await divergence(session, plan, tokens, prompt.length);
    refuseCancelled(signal);
    return { ids, frames, surprise, tokensPerSecond: stepRate(frames) ?? ran.rate, kl };
  } catch (error) {
    refuseCancelled(signal);
    throw fromNative(error);
  }
}

/** Gathers what a pass delivers. */
class Written {
  readonly ids: number[] = [];
  readonly frames: (Uint8Array | null)[] = [];
  private begin = 0;
  private end = 0;

  readonly take = (event: TokensEvent): void => {
    this.end = performance.now();
    if (this.ids.length === 0) this.begin = this.end;
    for (const [i, id] of event.ids.entries()) {
      this.ids.push(id);
      this.frames.push(event.frames?.[i] ?? null);
    }
  };

  /** Tokens a second; the first one comes out of the prompt's pass. */
  get rate(): number {
    return perSecond(this.ids.length - 1, this.end - this.begin);
  }
}

async function draw(
  session: NativeSession,
  prompt: Int32Array,
  options: GenerateOptions,
  written: Written,
): Promise<number> {
  const result = await session.generate(prompt, options, (event) => {
    if (event.type === 'tokens') written.take(event);
  });
  // A stop token took a step of its own.
  const steps = result.reason === 'stop-token' ? result.generatedTokens : result.generatedTokens - 1;
  return perSecond(steps, result.decodeMs);
}

function stepRate(frames: readonly (Uint8Array | null)[]): number | null {
  const times = frames.flatMap((frame) => (frame && stepMs(frame)) ?? []);
  const sum = times.reduce((total, ms) => total + ms, 0);
  return sum > 0 ? perSecond(times.length, sum) : null;
}

async function divergence(
  session: NativeSession,
  plan: Plan | null,
  tokens: Int32Array,
  from: number,
): Promise<number> {
  if (plan === null || from >= tokens.length) return 0;
  const { kl, positions } = await session.compare(null, tokens, from - 1);
  return positions > 0 ? kl / positions : 0;
}

function refuseCancelled({ aborted }: Signal): void {
  if (aborted) throw new HunchError('cancelled', 'Running the reply again was cancelled.');
}

const perSecond = (count: number, ms: number): number => (count > 0 && ms > 0 ? (count / ms) * 1000 : 0);

function concat(a: Int32Array, b: Int32Array): Int32Array {
  const both = new Int32Array(a.length + b.length);
  both.set(a);
  both.set(b, a.length);
  return both;
}
