import { mkdir, readFile } from 'node:fs/promises';
import { HunchError } from '../contract/errors';
import { calibrate } from '../sparsity/calibrate';
import { circumstances, openModel } from './open';
import type { ModelOptions } from './options';
import { note, print, printJson, progressLine } from './output';

export interface CalibrateCommandOptions extends ModelOptions {
  sample?: string;
  seconds?: number;
  out?: string;
}

/** `hunch calibrate`: measures a model and writes its pack. Ctrl+C stops it; the next call goes on from there. */
export async function calibrateCommand(options: CalibrateCommandOptions): Promise<void> {
  const sample = options.sample === undefined ? undefined : await readText(options.sample);
  if (options.out !== undefined) await mkdir(options.out, { recursive: true });
  const { runtime, resolved } = await openModel({ ...options, byNeuron: true });
  const progress = progressLine();
  const signal = { aborted: false };
  const interrupt = (): void => {
    if (signal.aborted) process.exit(130);
    signal.aborted = true;
    note('Stopping; what was measured is kept.');
  };
  process.on('SIGINT', interrupt);
  try {
    let lastDetail = '';
    const begin = performance.now();
    const { path, pack, notes } = await calibrate(runtime, {
      signal,
      ...(sample === undefined ? {} : { sample }),
      ...(options.seconds === undefined ? {} : { seconds: options.seconds }),
      ...(options.out === undefined ? {} : { folder: options.out }),
      onStatus: ({ fraction, detail }) => {
        const shown = `[${String(Math.floor(100 * fraction)).padStart(3)} %] ${detail}`;
        progress.show(shown);
        if (!process.stderr.isTTY && detail !== lastDetail) note(shown);
        lastDetail = detail;
      },
    });
    progress.end();
    const seconds = (performance.now() - begin) / 1000;
    if (options.json) {
      const { frontier, measured } = pack;
      printJson({
        command: 'calibrate',
        ...circumstances(runtime, resolved),
        path,
        seconds,
        frontier,
        measured,
        notes,
      });
      return;
    }
    for (const {
      stop,
      tokensPerSecond,
      speedup,
      perplexityRatio,
      kl,
      agreement,
      density,
      bytesPerToken,
    } of pack.frontier) {
      print(
        `${stop.padEnd(8)} ${tokensPerSecond.toFixed(1).padStart(7)} tok/s  ${speedup.toFixed(2)} × dense  ` +
          `perplexity ${(100 * (perplexityRatio - 1)).toFixed(2).padStart(6)} %  KL ${kl.toFixed(4)}  ` +
          `agreement ${(100 * agreement).toFixed(1)} %  density ${(100 * density).toFixed(1)} %  ` +
          `${(bytesPerToken / 1e6).toFixed(1)} MB a token`,
      );
    }
    for (const sentence of notes) print(sentence);
    note(`${path}, after ${seconds.toFixed(0)} s`);
  } finally {
    progress.end();
    process.off('SIGINT', interrupt);
    await runtime.close();
  }
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new HunchError('bad-request', `The text file ${file} cannot be read (${(error as Error).message}).`);
  }
}
