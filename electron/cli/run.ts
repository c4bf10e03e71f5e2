import { createInterface } from 'node:readline/promises';
import type { Sampling } from '../contract/entities';
import { defaultSampling } from '../contract/entities';
import { HunchError } from '../contract/errors';
import type { ChatTurn, ReplyResult, Runtime } from '../engine/runtime';
import { ActivityDump, type ActivityOptions } from './activity';
import { circumstances, machineOf, openModel } from './open';
import type { ModelOptions } from './options';
import { fail, note, printJson } from './output';
import { placeOf, planFor, type SparsityOptions } from './sparsity';

export interface RunOptions extends ModelOptions, SparsityOptions, ActivityOptions {
  system: string;
  ctxSize: number;
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  repeatPenalty: number;
  seed?: number;
  maxTokens: number;
}

const chatKey = 'cli';

function samplingOf({ temperature, topK, topP, minP, repeatPenalty, seed, maxTokens }: RunOptions): Sampling {
  return { ...defaultSampling, temperature, topK, topP, minP, repeatPenalty, seed: seed ?? null, maxTokens };
}

/** Replies to the chat so far, writing the text as it comes. Ctrl+C stops the reply. */
async function answer(
  runtime: Runtime,
  messages: ChatTurn[],
  options: RunOptions,
  dump: ActivityDump | null = null,
): Promise<ReplyResult> {
  const reply = runtime.reply(
    {
      ...{ chatKey, systemPrompt: options.system, messages, sampling: samplingOf(options) },
      sparsity: { position: options.sparsity ?? 0, correction: false, speculation: false },
    },
    (event) => {
      if (event.type === 'text' && !options.json) process.stdout.write(event.text);
      if (event.type === 'frames') dump?.add(event);
    },
  );
  let pressed = 0;
  const interrupt = (): void => {
    if (++pressed > 1) process.exit(130);
    reply.stop();
  };
  process.on('SIGINT', interrupt);
  try {
    return await reply.promise;
  } finally {
    process.off('SIGINT', interrupt);
    if (!options.json) process.stdout.write('\n');
  }
}

/** One reply; with --activity what its tokens needed goes to the file. */
async function answerOnce(runtime: Runtime, prompt: string, options: RunOptions): Promise<ReplyResult> {
  const messages: ChatTurn[] = [{ role: 'user', text: prompt }];
  if (options.activity === undefined) return answer(runtime, messages, options);
  const dump = await ActivityDump.begin(runtime, options.activity, options.auditEvery);
  try {
    const result = await answer(runtime, messages, options, dump);
    await dump.write(chatKey);
    return result;
  } finally {
    await dump.close();
  }
}

function summary({ stats }: ReplyResult): string {
  const cached = stats.cachedTokens > 0 ? ` (${stats.cachedTokens} from the cache)` : '';
  return (
    `${stats.promptTokens} prompt tokens${cached}, ${stats.generatedTokens} generated, ` +
    `first after ${stats.timeToFirstTokenMs.toFixed(0)} ms, ${stats.tokensPerSecond.toFixed(1)} tok/s, ${stats.stopReason}`
  );
}

/** Lines from a person or a pipe, until the end of input or /bye. */
async function converse(runtime: Runtime, options: RunOptions): Promise<void> {
  const terminal = process.stdin.isTTY === true;
  if (terminal) note('Type a message; /new starts over, /bye or Ctrl+D ends. Ctrl+C stops a reply.');
  let messages: ChatTurn[] = [];
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal });
  // While a line is typed, readline takes Ctrl+C; while a reply runs, `answer` does, through the process's signal.
  lines.on('SIGINT', () => (replying ? process.emit('SIGINT') : lines.close()));
  let replying = false;
  lines.setPrompt('> ');
  if (terminal) lines.prompt();
  for await (const line of lines) {
    const text = line.trim();
    if (text === '/bye') break;
    if (text === '/new') messages = [];
    else if (text !== '') {
      const asked: ChatTurn[] = [...messages, { role: 'user', text }];
      replying = true;
      try {
        const result = await answer(runtime, asked, options);
        messages = [...asked, { role: 'assistant', text: result.text }];
        note(summary(result));
        if (options.json) {
          const { text, stats, seed, sparsity } = result;
          printJson({ command: 'run', text, stats, seed, sparsity });
        }
      } catch (error) {
        if (!(error instanceof HunchError)) throw error;
        fail(error, options.json ?? false); // the chat goes on without the message that did not fit
      } finally {
        replying = false;
      }
    }
    if (terminal) lines.prompt();
  }
  lines.close();
}

/** `hunch run [prompt]`. */
export async function run(prompt: string | undefined, options: RunOptions): Promise<void> {
  const { runtime, resolved } = await openModel(options, options.ctxSize);
  try {
    const { info } = runtime;
    planFor(runtime, options.sparsity); // says what is wrong before anything is run
    note(
      `${resolved.name} ${info.quantization}, ${machineOf(info)}, ` +
        `context ${info.contextLength}, ${placeOf(runtime, options.sparsity)}`,
    );
    if (prompt === undefined && options.activity !== undefined) {
      throw new HunchError('bad-request', '--activity writes what one reply needed: give its prompt, too.');
    }
    if (prompt === undefined) return await converse(runtime, options);
    if (prompt.trim() === '') throw new HunchError('bad-request', 'The prompt is empty. Write what you want to ask.');
    const result = await answerOnce(runtime, prompt, options);
    if (options.json) {
      const { text, stats, seed, sparsity } = result;
      printJson({ command: 'run', ...circumstances(runtime, resolved), prompt, text, stats, seed, sparsity });
    } else note(summary(result));
    if (result.stats.stopReason === 'stopped') process.exitCode = 130;
  } finally {
    await runtime.close();
  }
}
