import prompts from '../../assets/calibration/prompts.json';
import type { GenerateOptions, NativeSession } from '../engine/addon';
import type { Runtime } from '../engine/runtime';
import type { Journal } from './journal';

/** chat: replies to the prompts of assets/calibration. free: what the model writes on its own. sample: the user's own text. */
export const textKinds = ['chat', 'free', 'sample'] as const;
export type TextKind = (typeof textKinds)[number];

/** A document, of which the tokens after `from` are scored. */
export interface Window {
  kind: TextKind;
  tokens: Int32Array;
  from: number;
}

export interface CalibrationText {
  /** What choices are made on. */
  search: Window[];
  /** What they are judged on: other documents, twice as many. */
  heldOut: Window[];
  tokens: number;
}

export interface TextOptions {
  /** Tokens in all, about. */
  tokens: number;
  /** A text of the user's, to be judged on as well. */
  sample?: string;
  journal: Journal;
  /** Called after every document; may throw. */
  onDocument(fraction: number): void;
}

const windowTokens = 512;
const warmUp = 64; // positions without enough context are not scored
const shortest = 16; // tokens after `from`; less says nothing
const firstSeed = 20_231_024;
const sampleTokens = 12_288;

const sampling = { topK: 0, topP: 1, minP: 0, repeatPenalty: 1, repeatLastN: 0 };

/**
 * Text to calibrate on is what the model itself writes, since that is what it will read most: replies in its chat template at
 * temperature 0.8, of which only the reply is scored (prompts always run densely), and free text at temperature 1. The same
 * model, options and kernels give the same text. `session` needs 768 tokens of context.
 */
export async function calibrationText(
  runtime: Runtime,
  session: NativeSession,
  options: TextOptions,
): Promise<CalibrationText> {
  const half = options.tokens / 2;
  const chats = prompts.chats.slice(0, Math.max(6, Math.min(prompts.chats.length, Math.round(half / 100))));
  const openings = prompts.openings.slice(0, Math.max(6, Math.min(prompts.openings.length, Math.round(half / 448))));
  const longest = {
    chat: Math.min(windowTokens, Math.ceil(half / chats.length)),
    free: Math.min(windowTokens, Math.ceil(half / openings.length)),
  };
  const kinds: Window[][] = [[], []];
  let done = 0;
  const write = async (kind: 'chat' | 'free', index: number, prompt: number[]): Promise<void> => {
    const from = kind === 'chat' ? prompt.length - 1 : Math.min(warmUp, longest.free / 4) | 0;
    const tokens = await options.journal.remember(`text ${kind} ${index}`, async () => {
      const room = runtime.info.contextLength - prompt.length;
      const reply = await generate(session, prompt, {
        ...sampling,
        temperature: kind === 'chat' ? 0.8 : 1,
        seed: firstSeed + index,
        maxTokens: Math.min(room, longest[kind]),
        // Free text that ends begins anew, so that its windows are full.
        stopTokens: kind === 'chat' ? runtime.tokenizer.stopTokens : [],
      });
      return [...prompt, ...reply];
    });
    if (tokens.length - 1 - from >= shortest) kinds[kind === 'chat' ? 0 : 1]!.push(window(kind, tokens, from));
    options.onDocument(++done / (chats.length + openings.length));
  };
  for (const [index, chat] of chats.entries()) await write('chat', index, await runtime.encodeChat(chat));
  for (const [index, opening] of openings.entries()) {
    await write('free', index, await openingTokens(runtime, opening, index));
  }
  if (options.sample !== undefined) kinds.push(await sampleWindows(runtime, options.sample));
  const all = kinds.flat();
  return {
    // The first and every third document of each kind.
    search: kinds.flatMap((list) => list.filter((_, i) => i % 3 === 0)),
    heldOut: kinds.flatMap((list) => list.filter((_, i) => i % 3 !== 0)),
    tokens: all.reduce((sum, { tokens }) => sum + tokens.length, 0),
  };
}

function window(kind: TextKind, tokens: number[], from: number): Window {
  return { kind, tokens: Int32Array.from(tokens), from };
}

async function generate(session: NativeSession, prompt: number[], options: GenerateOptions): Promise<number[]> {
  const ids: number[] = [];
  if (options.maxTokens < 1) return ids;
  await session.generate(Int32Array.from(prompt), options, (event) => {
    if (event.type === 'tokens') ids.push(...event.ids);
  });
  return ids;
}

/** An empty opening is the token that texts start with; a model without one begins with its first word. */
async function openingTokens({ tokenizer }: Runtime, opening: string, index: number): Promise<number[]> {
  const start = tokenizer.bos ?? tokenizer.stopTokens[0];
  const words = await tokenizer.encode(opening || (start === undefined ? 'The' : ''), { parseSpecial: false });
  const begins = start !== undefined && (tokenizer.addBos || opening === '');
  const tokens = begins ? [start, ...words] : words;
  return tokens.length > 0 ? tokens : [index];
}

async function sampleWindows({ tokenizer }: Runtime, text: string): Promise<Window[]> {
  // Four bytes make a token, about; a book need not be encoded whole.
  const ids = await tokenizer.encode(text.slice(0, 16 * sampleTokens), { parseSpecial: false });
  const windows: Window[] = [];
  for (let at = 0; at < Math.min(ids.length, sampleTokens); at += windowTokens) {
    const tokens = ids.slice(at, at + windowTokens);
    if (tokenizer.addBos && tokenizer.bos !== null) tokens[0] = tokenizer.bos;
    const from = Math.min(warmUp, tokens.length >> 2);
    if (tokens.length - 1 - from >= shortest) windows.push(window('sample', tokens, from));
  }
  return windows;
}

/**
 * More text of the model's own, without end, other than `calibrationText` has: chats and free text in turns. `after`: tokens of it
 * that were read before, about.
 */
export async function* trainingText(runtime: Runtime, session: NativeSession, after = 0): AsyncGenerator<Int32Array> {
  for (let index = Math.ceil(after / 256); ; index++) {
    const chat = index % 2 === 0;
    const list = chat ? prompts.chats : prompts.openings;
    const text = list[(index >> 1) % list.length]!;
    const prompt = chat ? await runtime.encodeChat(text) : await openingTokens(runtime, text, index);
    const reply = await generate(session, prompt, {
      ...sampling,
      temperature: chat ? 0.8 : 1,
      seed: firstSeed + 1_000_003 + index,
      maxTokens: Math.min(runtime.info.contextLength - prompt.length, windowTokens - (prompt.length % 128)),
      stopTokens: chat ? runtime.tokenizer.stopTokens : [],
    });
    if (reply.length > 0) yield Int32Array.from([...prompt, ...reply]);
  }
}

/** Whole windows of every kind that hold about this share of the scored tokens; or each cut to `longest` scored tokens. */
export function portion(windows: readonly Window[], share: number, longest = Infinity): Window[] {
  const scored = ({ tokens, from }: Window): number => Math.min(longest, tokens.length - 1 - from);
  return textKinds.flatMap((kind) => {
    const own = windows.filter((window) => window.kind === kind);
    const wanted = share * own.reduce((sum, { tokens, from }) => sum + tokens.length - 1 - from, 0);
    const chosen: Window[] = [];
    for (let sum = 0, i = 0; i < own.length && sum < wanted; i++) {
      const { tokens, from } = own[i]!;
      sum += scored(own[i]!);
      chosen.push({ kind, tokens: tokens.slice(0, from + scored(own[i]!) + 1), from });
    }
    return chosen;
  });
}
