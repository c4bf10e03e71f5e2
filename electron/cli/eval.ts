import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { HunchError } from '../contract/errors';
import { fromNative } from '../engine/nativeError';
import { evaluate } from '../eval/evaluate';
import { parseRecords } from '../eval/records';
import { circumstances, machineOf, openModel } from './open';
import type { ModelOptions } from './options';
import { note, print, printJson, progressLine } from './output';
import { placeOf, planFor, type SparsityOptions } from './sparsity';

export interface EvalCommandOptions extends ModelOptions, SparsityOptions {
  limit?: number;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new HunchError('bad-request', `The file ${file} cannot be read (${(error as Error).message}).`);
  }
}

/** `hunch eval FILE.jsonl`. */
export async function evalCommand(file: string, options: EvalCommandOptions): Promise<void> {
  const records = parseRecords(await readText(file), path.basename(file), options.limit);
  const { runtime, resolved } = await openModel(options);
  const progress = progressLine();
  try {
    const { info, tokenizer } = runtime;
    const plan = planFor(runtime, options.sparsity);
    let lastTenth = 0;
    const result = await evaluate(records, {
      ...{ fileName: path.basename(file), tokenizer },
      maxLength: info.trainedContext - 1, // the engine makes room for the last token too, which is only predicted
      openSession: (tokens) => {
        const session = runtime.openSession(Math.max(tokens, 16));
        session.setPlan(plan);
        return session;
      },
      onRecord: (done, total, acc) => {
        progress.show(`[${done}/${total}] acc ${acc.toFixed(4)}`);
        const tenth = Math.floor((10 * done) / total);
        if (!process.stderr.isTTY && tenth > lastTenth) note(`[${done}/${total}] acc ${acc.toFixed(4)}`);
        lastTenth = tenth;
      },
    }).catch((error: unknown) => {
      throw fromNative(error);
    });
    progress.end();
    const tokensPerSecond = (result.tokens / result.elapsedMs) * 1000;
    if (options.json) {
      const limit = options.limit ?? null;
      const sparsity = placeOf(runtime, options.sparsity);
      printJson({
        command: 'eval',
        ...circumstances(runtime, resolved),
        file,
        sparsity,
        limit,
        ...result,
        tokensPerSecond,
      });
      return;
    }
    const share = (value: number, error: number | null): string =>
      value.toFixed(4) + (error === null ? '' : ` ± ${error.toFixed(4)}`);
    print(`acc      = ${share(result.acc, result.stderr)}`);
    if (result.acc_norm !== null) print(`acc_norm = ${share(result.acc_norm, result.acc_norm_stderr)}`);
    if (result.perplexity !== null) {
      print(
        `perplexity of the continuations = ${result.perplexity.toFixed(4)}, of their tokens ${result.token_perplexity?.toFixed(4)}`,
      );
    }
    print(
      `${resolved.name} ${info.quantization}, ${machineOf(info)}, ${placeOf(runtime, options.sparsity)}: n = ${result.n}, ` +
        `${result.tokens} tokens, ${tokensPerSecond.toFixed(0)} tok/s`,
    );
    if (result.truncated > 0) {
      note(
        `${result.truncated} requests were longer than the model's context of ${info.trainedContext} tokens and lost their beginning.`,
      );
    }
  } finally {
    progress.end();
    await runtime.close();
  }
}
