import { Command, Option } from 'commander';
import { version } from '../../package.json';
import { defaultSampling } from '../contract/entities';
import { activityOptions } from './activity';
import type { BenchOptions } from './bench';
import { bench } from './bench';
import type { CalibrateCommandOptions } from './calibrate';
import { calibrateCommand } from './calibrate';
import { devices } from './devices';
import type { EvalCommandOptions } from './eval';
import { evalCommand } from './eval';
import { models, pull } from './models';
import { decimal, jsonOption, wholeNumber, withModelOptions } from './options';
import { fail } from './output';
import type { PerplexityCommandOptions } from './perplexity';
import { perplexity } from './perplexity';
import type { RunOptions } from './run';
import { run } from './run';
import { benchSparsityOption, sparsityOption } from './sparsity';
import { addShapeCommand, findShape, shape, shapeNames, typeOption } from './shape';

/** Runs a command's work; its errors end the process with a sentence and exit code 1. */
function action<A extends unknown[]>(work: (...args: A) => Promise<void>): (...args: A) => Promise<void> {
  return async (...args) => {
    try {
      await work(...args);
    } catch (error) {
      fail(
        error,
        args.some((value) => (value as { json?: boolean } | null)?.json === true),
      );
    }
  };
}

export function program(): Command {
  const hunch = new Command('hunch')
    .description('Chat with language models on your own computer.')
    .version(version)
    .showHelpAfterError('(see "hunch --help")');

  const [activity, auditEvery] = activityOptions();
  withModelOptions(hunch.command('run'))
    .addOption(sparsityOption())
    .addOption(activity)
    .addOption(auditEvery)
    .description('reply to a prompt, or chat line by line without one')
    .argument('[prompt]')
    .option('-s, --system <text>', 'system prompt', '')
    .option('-c, --ctx-size <n>', 'context length in tokens', wholeNumber(64, 131_072), 4096)
    .option('--temperature <x>', '0 = always the likeliest token', decimal(0, 5), defaultSampling.temperature)
    .option('--top-k <n>', '0 = off', wholeNumber(0, 1000), defaultSampling.topK)
    .option('--top-p <x>', '1 = off', decimal(0, 1), defaultSampling.topP)
    .option('--min-p <x>', '0 = off', decimal(0, 1), defaultSampling.minP)
    .option('--repeat-penalty <x>', '1 = off', decimal(0.5, 2), defaultSampling.repeatPenalty)
    .option('--seed <n>', 'makes the reply repeatable', wholeNumber(0, 0xffffffff))
    .option('-n, --max-tokens <n>', 'length of the reply at most', wholeNumber(1, 131_072), defaultSampling.maxTokens)
    .action(action((prompt: string | undefined, options: RunOptions) => run(prompt, options)));

  withModelOptions(hunch.command('bench'))
    .description('measure prefill and decode beside the memory bandwidth')
    .option('-r, --repetitions <n>', 'measured runs of each, after one warm-up', wholeNumber(1, 100), 5)
    .option('--reps <n>', 'the same', wholeNumber(1, 100))
    .option('--pp <n>', 'tokens of the prefill (default: 512, of a shape 32); 0 = none', wholeNumber(0, 131_072))
    .option('--tg <n>', 'decode steps (default: 128, of a shape 16); 0 = none', wholeNumber(0, 131_072))
    .option('-d, --depth <n>', 'tokens of context before them', wholeNumber(0, 131_072), 0)
    .addOption(benchSparsityOption())
    .option('--text <file>', 'the text to run; with --sparsity all also to judge the stops on')
    .option('--chunks <n>', 'with --sparsity all: windows of the text to judge on', wholeNumber(1, 1_000_000), 40)
    .option('--stream', 'measure the time to the first token and the speed as JavaScript sees them, too')
    .addOption(
      new Option('--shape <name>', `random weights in a real model's shape: ${shapeNames.join(', ')}`)
        .argParser(findShape)
        .conflicts('model'),
    )
    .addOption(typeOption())
    .option('--density <x>', 'of a shape: also time steps that compute this share of the neurons', decimal(0.001, 0.5))
    .option('--heads <x>', 'with --density: the share of the heads to compute, too', decimal(0.01, 1))
    .action(action((options: BenchOptions) => bench(options)));

  withModelOptions(hunch.command('perplexity'))
    .addOption(sparsityOption())
    .description("measure perplexity on a text file, by llama-perplexity's protocol")
    .argument('<file>')
    .option('-c, --ctx-size <n>', 'tokens of a window', wholeNumber(8, 131_072), 512)
    .option('--chunks <n>', 'score only the first n windows', wholeNumber(1, 1_000_000))
    .action(action((file: string, options: PerplexityCommandOptions) => perplexity(file, options)));

  withModelOptions(hunch.command('eval'))
    .addOption(sparsityOption())
    .description('measure accuracy on a JSONL file of multiple-choice or cloze records, as lm-evaluation-harness does')
    .argument('<file>')
    .option('--limit <n>', 'only the first n records', wholeNumber(1, 100_000_000))
    .action(action((file: string, options: EvalCommandOptions) => evalCommand(file, options)));

  withModelOptions(hunch.command('calibrate'))
    .description('measure what a model can skip on this machine, and write its sparsity pack')
    .option('--sample <file>', 'a text of yours that the stops must hold their limits on, too')
    .option('--seconds <n>', 'how long it may take, about', wholeNumber(5, 86_400))
    .option('--out <folder>', 'where to write the pack, instead of beside the model')
    .action(action((options: CalibrateCommandOptions) => calibrateCommand(options)));

  addShapeCommand(hunch, jsonOption()).action(action(shape));

  hunch
    .command('pull')
    .description('download a model of the catalogue')
    .argument('<id>')
    .addOption(jsonOption())
    .action(action((id: string, options: { json?: boolean }) => pull(id, options)));

  hunch
    .command('models')
    .description('list the models')
    .option('--verify', "compare the catalogue models' SHA-256 too")
    .addOption(jsonOption())
    .action(action((options: { json?: boolean; verify?: boolean }) => models(options)));

  hunch
    .command('devices')
    .description('list what models can run on here')
    .addOption(jsonOption())
    .action(action((options: { json?: boolean }) => devices(options)));

  return hunch;
}

if (require.main === module) {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0); // whoever read the output has seen enough
    throw error;
  });
  void program()
    .parseAsync()
    .catch((error: unknown) => fail(error, false));
}
