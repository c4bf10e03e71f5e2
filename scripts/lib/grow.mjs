import { lstatSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { bytesDone, progress } from './ui.mjs';

/**
 * Shows how much a downloader without a progress report has written below `folder`, and aborts it when nothing arrives
 * for `stallMs`.
 * @param {(signal: AbortSignal) => Promise<T>} work
 * @returns {Promise<T>}
 * @template T
 */
export async function watchGrowth(what, folder, totalBytes, stallMs, work) {
  const controller = new AbortController();
  let last = -1;
  let lastChange = Date.now();
  const timer = setInterval(() => {
    const size = sizeOf(folder);
    if (size !== last) {
      last = size;
      lastChange = Date.now();
    } else if (Date.now() - lastChange > stallMs) {
      controller.abort(new Error(`received nothing for ${stallMs / 1000} s`));
    }
    progress(bytesDone(what, Math.max(0, last), totalBytes));
  }, 500);
  try {
    return await work(controller.signal);
  } finally {
    clearInterval(timer);
  }
}

function sizeOf(path) {
  try {
    const info = lstatSync(path);
    if (!info.isDirectory()) return info.size;
    return readdirSync(path).reduce((sum, name) => sum + sizeOf(join(path, name)), 0);
  } catch {
    return 0; // moved away between the two calls
  }
}
