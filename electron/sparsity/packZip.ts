import yauzl from 'yauzl';
import { packInvalid, quote } from './packError';

const mostEntries = 64;

/**
 * The wanted files of a zip, read into memory; nothing is unpacked, so no name in it can reach the disk. They lie at its top or
 * together in one folder (as when a folder was zipped). Caps: bytes by file name. Errors: pack-invalid.
 */
export function readZip(file: string, caps: Record<string, number>): Promise<Map<string, Buffer>> {
  return new Promise((resolve, reject) => {
    const damaged = (error: Error): void =>
      reject(packInvalid(`it is a damaged zip (${quote(error.message)})`, undefined, error));
    yauzl.open(file, { lazyEntries: true, autoClose: true }, (openError, zip) => {
      if (openError) return damaged(openError);
      const stop = (error: Error): void => {
        zip.close();
        reject(error);
      };
      zip.on('error', damaged);
      if (zip.entryCount > mostEntries) return stop(packInvalid(`it is a zip of ${zip.entryCount} files`));
      const found = new Map<string, Buffer>();
      let folder: string | null = null;
      zip.on('entry', (entry: yauzl.Entry) => {
        const [, parent = '', name = ''] = /^([^/]*\/)?([^/]*)$/.exec(entry.fileName) ?? [];
        const cap = Object.hasOwn(caps, name) ? caps[name]! : null;
        if (cap === null) return zip.readEntry();
        if (found.has(name) || (folder !== null && folder !== parent)) {
          return stop(packInvalid(`it is a zip with two files named ${name}, or with its files in two folders`));
        }
        if (entry.uncompressedSize > cap) return stop(packInvalid(`${name} is larger than ${cap >> 20} MB`));
        folder = parent;
        zip.openReadStream(entry, (streamError, stream) => {
          if (streamError)
            return stop(packInvalid(`it is a damaged zip (${quote(streamError.message)})`, undefined, streamError));
          const chunks: Buffer[] = [];
          let size = 0;
          stream.on('data', (chunk: Buffer) => {
            chunks.push(chunk);
            size += chunk.length;
            if (size > cap) stream.destroy(new Error('it holds more than it says')); // yauzl checks too
          });
          stream.on('error', (error: Error) =>
            stop(packInvalid(`${name} cannot be unpacked (${quote(error.message)})`, undefined, error)),
          );
          stream.on('end', () => {
            found.set(name, Buffer.concat(chunks, size));
            zip.readEntry();
          });
        });
      });
      zip.on('end', () => resolve(found));
      zip.readEntry();
    });
  });
}
