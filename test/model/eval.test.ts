import { readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Runtime } from '../../electron/engine/runtime';
import { encodePair } from '../../electron/eval/encodePair';
import { evaluate } from '../../electron/eval/evaluate';
import { parseRecords } from '../../electron/eval/records';
import { hunch } from '../unit/cli/captured';
import { starterPath, stockModelId } from './starter';

const file = path.join(path.dirname(fileURLToPath(import.meta.url)), 'eval.jsonl');
const records = parseRecords(readFileSync(file, 'utf8'), 'eval.jsonl');

let runtime: Runtime;
beforeAll(async () => {
  runtime = await Runtime.open(await starterPath());
});
afterAll(() => runtime.close());

/** log p of tokens[from …] from whole logits of every beginning, in doubles; greedy when each is the argmax. */
async function slowly(tokens: number[], from: number): Promise<{ logLikelihood: number; greedy: boolean }> {
  const session = runtime.openSession(256);
  let [logLikelihood, greedy] = [0, true];
  for (let at = from; at < tokens.length; at++) {
    const logits = Array.from(await session.logits(Int32Array.from(tokens.slice(0, at))));
    const max = Math.max(...logits);
    const target = logits[tokens[at] as number] as number;
    logLikelihood += target - max - Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - max), 0));
    greedy &&= target === max;
  }
  session.close();
  return { logLikelihood, greedy };
}

describe('hunch eval', () => {
  it('agrees with log-likelihoods computed one token at a time', async () => {
    let [right, rightNorm, clozeLog, clozeTokens, clozes] = [0, 0, 0, 0, 0];
    const best = (values: number[]): number => values.indexOf(Math.max(...values));
    for (const record of records) {
      const slow = [];
      for (const { context, continuation } of record.requests) {
        const pair = await encodePair(runtime.tokenizer, context, continuation);
        slow.push({ ...(await slowly(pair!.tokens, pair!.context)), tokens: pair!.tokens.length - pair!.context });
      }
      if (record.kind === 'cloze') {
        right += slow[0]!.greedy ? 1 : 0;
        clozeLog += slow[0]!.logLikelihood;
        clozeTokens += slow[0]!.tokens;
        clozes++;
        continue;
      }
      const lengths = record.answers.map((answer) => Array.from(answer).length);
      right += best(slow.map(({ logLikelihood }) => logLikelihood)) === record.gold ? 1 : 0;
      rightNorm += best(slow.map(({ logLikelihood }, i) => logLikelihood / lengths[i]!)) === record.gold ? 1 : 0;
    }
    const { stdout, exitCode } = await hunch('eval', file, '--json', '-m', stockModelId);
    const result = JSON.parse(stdout) as Record<string, number>;
    const n = records.length;
    expect(exitCode).toBe(0);
    expect(result).toMatchObject({
      command: 'eval',
      n,
      acc: right / n,
      acc_norm: rightNorm / (n - clozes),
      truncated: 0,
    });
    expect(result['stderr']).toBeCloseTo(Math.sqrt(((right / n) * (1 - right / n)) / (n - 1)), 12);
    expect(result['perplexity']! / Math.exp(-clozeLog / clozes)).toBeCloseTo(1, 5);
    expect(result['token_perplexity']! / Math.exp(-clozeLog / clozeTokens)).toBeCloseTo(1, 5);
    expect(right).toBeGreaterThan(0);
    expect(right).toBeLessThan(n);
  });

  it('gives the same numbers whatever the threads and the order', async () => {
    const run = async (list: typeof records, threads: number): Promise<unknown> => {
      const other = await Runtime.open(await starterPath(), { threads });
      const { elapsedMs: _, ...result } = await evaluate(list, {
        ...{ fileName: 'f', tokenizer: other.tokenizer, maxLength: 512 },
        openSession: (tokens) => other.openSession(tokens),
      });
      await other.close();
      const { perplexity, token_perplexity, ...exact } = result; // sums of another order round differently
      return { ...exact, perplexity: perplexity?.toFixed(9), token_perplexity: token_perplexity?.toFixed(9) };
    };
    const one = await run(records, 1);
    expect(await run(records, 2)).toEqual(one);
    expect(await run([...records].reverse(), 2)).toEqual(one);
  });

  it('cuts the beginning of what is longer than the context, and says so', async () => {
    const long = parseRecords(
      JSON.stringify({ query: 'one two three '.repeat(20), choices: ['four', 'mountain'], gold: 0 }),
      'f',
    );
    const seen: number[] = [];
    const evaluated = evaluate(long, {
      ...{ fileName: 'f', tokenizer: runtime.tokenizer, maxLength: 20 },
      openSession: (tokens) => {
        seen.push(tokens);
        return runtime.openSession(tokens);
      },
    });
    expect(await evaluated).toMatchObject({ truncated: 2, n: 1, tokens: 42 });
    expect(seen).toEqual([21]);
    const answer = parseRecords(JSON.stringify({ context: 'x', continuation: ' y'.repeat(30) }), 'f');
    await expect(
      evaluate(answer, {
        ...{ fileName: 'f', tokenizer: runtime.tokenizer, maxLength: 20 },
        openSession: (tokens) => runtime.openSession(tokens),
      }),
    ).rejects.toMatchObject({ code: 'bad-request', message: expect.stringMatching(/^f, line 1: .*has 30 tokens/) });
  });

  it('takes the first records only with --limit, and names a bad line', async () => {
    const { stdout } = await hunch('eval', file, '--limit', '2');
    expect(stdout).toMatch(/^acc {6}= [01]\.\d{4} ± \d\.\d{4}$/m);
    expect(stdout).toMatch(/n = 2,/);
    const missing = await hunch('eval', '/nowhere.jsonl');
    expect([missing.exitCode, missing.stderr]).toEqual([1, expect.stringContaining('/nowhere.jsonl cannot be read')]);
  });
});
