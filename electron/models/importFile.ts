import { link, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { createReadStream } from 'node:fs';
import path from 'node:path';
import { HunchError } from '../contract/errors';
import { onDisk } from './downloadErrors';
import { readModelFile } from './gguf';

export interface ImportOptions {
  onProgress?: (copiedBytes: number, totalBytes: number) => void;
  signal?: AbortSignal;
}

/**
 * Brings a model file into `folder`: a hard link where the disk allows it (no second copy), else a copy. Its header is
 * checked first. Returns the file's name in the folder; a file that is there already is left as it is.
 * Errors: those of readModelFile, disk-full, cancelled, download-failed (cannot be written).
 */
export async function importFile(source: string, folder: string, options: ImportOptions = {}): Promise<string> {
  const { sizeBytes } = await readModelFile(source);
  const from = await stat(source);
  const taken = await readdir(folder);
  for (const name of taken) {
    const there = await stat(path.join(folder, name)).catch(() => null);
    if (there && there.ino === from.ino && there.dev === from.dev && name.toLowerCase().endsWith('.gguf')) return name;
  }
  const name = freeName(path.basename(source), taken);
  const target = path.join(folder, name);
  await onDisk(folder, sizeBytes, async () => {
    try {
      await link(source, target);
    } catch {
      await copy(source, target, sizeBytes, options);
    }
  });
  return name;
}

function freeName(wanted: string, taken: string[]): string {
  const stem = wanted.replace(/\.gguf$/i, '');
  const used = new Set(taken.map((name) => name.toLowerCase()));
  for (let number = 1; ; number++) {
    const name = number === 1 ? `${stem}.gguf` : `${stem}-${number}.gguf`;
    if (!used.has(name.toLowerCase())) return name;
  }
}

async function copy(source: string, target: string, totalBytes: number, options: ImportOptions): Promise<void> {
  const part = `${target}.part`;
  const handle = await open(part, 'w');
  try {
    let copied = 0;
    for await (const chunk of createReadStream(source, { highWaterMark: 1 << 20 })) {
      if (options.signal?.aborted) {
        throw new HunchError('cancelled', `The import of ${path.basename(source)} was cancelled.`);
      }
      const buffer = chunk as Buffer;
      for (let at = 0; at < buffer.length;) at += (await handle.write(buffer, at)).bytesWritten;
      copied += buffer.length;
      options.onProgress?.(copied, totalBytes);
    }
    await handle.sync();
    await handle.close();
    await rename(part, target);
  } catch (error) {
    await handle.close().catch(() => {});
    await rm(part, { force: true });
    throw error;
  }
}
