import type { Hash } from 'node:crypto';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, rename, rm } from 'node:fs/promises';
import path from 'node:path';

/** A file that is being received: `<file>.part`, hashed as it grows, renamed once it is whole and right. */
export class PartFile {
  private constructor(
    private readonly file: string,
    private readonly handle: FileHandle,
    private readonly hash: Hash,
    public size: number,
  ) {}

  static path(file: string): string {
    return `${file}.part`;
  }

  /** Opens what an earlier attempt left (if it is no longer than `totalBytes`), else an empty file. */
  static async open(file: string, totalBytes: number, keep: boolean): Promise<PartFile> {
    const part = PartFile.path(file);
    const handle = await open(part, 'a+');
    try {
      const hash = createHash('sha256');
      let { size } = await handle.stat();
      if (!keep || size > totalBytes) {
        await handle.truncate(0);
        size = 0;
      }
      if (size > 0) for await (const chunk of createReadStream(part)) hash.update(chunk as Buffer);
      return new PartFile(file, handle, hash, size);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    for (let written = 0; written < chunk.length;) {
      written += (await this.handle.write(chunk, written)).bytesWritten;
    }
    this.hash.update(chunk);
    this.size += chunk.length;
  }

  /** Keeps what is there for a later attempt. */
  async close(): Promise<void> {
    await this.handle.close();
  }

  /** Closes; true and the file in place when the hash is right, false and nothing left otherwise. */
  async finish(sha256: string): Promise<boolean> {
    try {
      await this.handle.sync();
    } finally {
      await this.handle.close();
    }
    const part = PartFile.path(this.file);
    if (this.hash.digest('hex') !== sha256) {
      await rm(part, { force: true });
      return false;
    }
    await rename(part, this.file);
    await syncFolder(path.dirname(this.file));
    return true;
  }
}

/** Makes the rename itself durable; Windows has no such call. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
