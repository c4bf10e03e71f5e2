import { ModelLibrary } from '../models/library';
import { modelsFolder } from '../paths';
import { library } from './open';
import { megabytes, note, print, printJson, progressLine } from './output';

/** `hunch models`. */
export async function models({ json, verify }: { json?: boolean; verify?: boolean }): Promise<void> {
  const known = library();
  const list = await known.list();
  const verified: string[] = [];
  if (verify) {
    for (const { id, source, state } of list) {
      if (source !== 'catalogue' || state !== 'available') continue;
      await known.verify(id);
      verified.push(id);
    }
  }
  if (json) {
    printJson({ command: 'models', folder: known.folder, models: list, ...(verify ? { verified } : {}) });
    return;
  }
  note(known.folder);
  for (const { id, state, sizeBytes, quantization, license, problem } of list) {
    const checked = verified.includes(id) ? ', SHA-256 verified' : '';
    print(`${id}  ${state}${checked}  ${megabytes(sizeBytes)}  ${quantization}  ${license ?? 'licence unknown'}`);
    if (problem) print(`    ${problem}`);
  }
}

/** `hunch pull ID`: downloads; Ctrl+C stops and keeps what came. */
export async function pull(id: string, { json }: { json?: boolean }): Promise<void> {
  const target = new ModelLibrary(modelsFolder());
  const progress = progressLine();
  let lastSource = '';
  let lastTenth = -1;
  const cancel = (): void => target.cancelDownload(id);
  process.on('SIGINT', cancel);
  try {
    const there = (await target.list()).some((model) => model.id === id && model.state === 'available');
    if (there) await target.verify(id); // a file put there by hand may be another one of the same size
    const model = await target.download(id, {
      onProgress: ({ receivedBytes, totalBytes, source }) => {
        const percent = Math.floor((100 * receivedBytes) / totalBytes);
        progress.show(`${id}: ${percent} % of ${megabytes(totalBytes)} from ${source}`);
        if (process.stderr.isTTY) return;
        const tenth = Math.floor(percent / 10);
        if (source !== lastSource || tenth > lastTenth)
          note(`${id}: ${percent} % of ${megabytes(totalBytes)} from ${source}`);
        [lastSource, lastTenth] = [source, tenth];
      },
    });
    progress.end();
    if (json) printJson({ command: 'pull', folder: target.folder, model });
    else print(`${model.name} is in ${target.folder} (${megabytes(model.sizeBytes)}, SHA-256 verified).`);
  } finally {
    progress.end();
    process.off('SIGINT', cancel);
  }
}
