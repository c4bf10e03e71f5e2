import { readFile } from 'node:fs/promises';
import { HunchError } from '../contract/errors';
import { measurePerplexity } from '../engine/perplexity';
import { circumstances, machineOf, openModel } from './open';
import type { ModelOptions } from './options';
import { note, print, printJson, progressLine } from './output';
import { placeOf, planFor, type SparsityOptions } from './sparsity';

export interface PerplexityCommandOptions extends ModelOptions, SparsityOptions {
  ctxSize: number;
  chunks?: number;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new HunchError('bad-request', `The text file ${file} cannot be read (${(error as Error).message}).`);
  }
}

/** `hunch perplexity FILE`. */
export async function perplexity(file: string, options: PerplexityCommandOptions): Promise<void> {
  const text = await readText(file);
  const { runtime, resolved } = await openModel(options);
  try {
    const { tokenizer, info } = runtime;
    const plan = planFor(runtime, options.sparsity);
    const contextLength = options.ctxSize;
    if (contextLength > info.trainedContext) {
      throw new HunchError(
        'context-overflow',
        `Windows of ${contextLength} tokens are longer than this model's context of ${info.trainedContext}. Choose a smaller --ctx-size.`,
      );
    }
    const bos = tokenizer.addBos ? tokenizer.bos : null;
    const ids = await tokenizer.encode(text, { parseSpecial: false });
    const tokens = Int32Array.from(bos === null ? ids : [bos, ...ids]);
    if (tokens.length < 2 * contextLength) {
      throw new HunchError(
        'bad-request',
        `${file} has ${tokens.length} tokens; perplexity needs at least two windows of ${contextLength}. Give a longer text or a smaller --ctx-size.`,
      );
    }
    const progress = progressLine();
    const session = runtime.openSession(contextLength);
    session.setPlan(plan);
    const result = await measurePerplexity(tokens, {
      ...{ contextLength, bos },
      chunks: options.chunks ?? Infinity,
      score: (window, from) => session.score(window, from),
      onWindow: ({ chunk, chunks, perplexity: running, elapsedMs }) => {
        const left = (elapsedMs / chunk) * (chunks - chunk);
        progress.show(`[${chunk}/${chunks}] ${running.toFixed(4)}  ${Math.ceil(left / 1000)} s left`);
        if (!process.stderr.isTTY) note(`[${chunk}/${chunks}] ${running.toFixed(4)}`);
      },
    });
    progress.end();
    session.close();
    const tokensPerSecond = (result.evaluatedTokens / result.elapsedMs) * 1000;
    if (options.json) {
      printJson({
        command: 'perplexity',
        ...circumstances(runtime, resolved),
        file,
        sparsity: placeOf(runtime, options.sparsity),
        ...{ contextLength, tokens: tokens.length, bos: bos !== null },
        ...result,
        tokensPerSecond,
      });
      return;
    }
    print(`PPL = ${result.perplexity.toFixed(4)} ± ${result.standardError.toFixed(5)}`);
    print(
      `${resolved.name} ${info.quantization}, ${machineOf(info)}, ${placeOf(runtime, options.sparsity)}: ${result.chunks} windows of ${contextLength}, ` +
        `${result.scoredTokens} tokens scored, ${tokensPerSecond.toFixed(0)} tok/s`,
    );
  } finally {
    await runtime.close();
  }
}
