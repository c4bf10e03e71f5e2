import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Option } from 'commander';
import { decodeFrame, decodeRecord } from '../contract/frames';
import type { FramesProgress } from '../engine/activityTrail';
import type { Runtime } from '../engine/runtime';
import { fileError } from '../files';
import { wholeNumber } from './options';

export interface ActivityOptions {
  /** Where to write what each token needed. */
  activity?: string;
  auditEvery: number;
}

export function activityOptions(): [Option, Option] {
  return [
    new Option('--activity <file>', 'write what each token needed, one JSON object a line'),
    new Option('--audit-every <n>', 'of --activity: every nth token is also computed densely; 0 = none')
      .argParser(wholeNumber(0, 10_000))
      .default(16),
  ];
}

/** A gigabyte; long replies of large models lose their first records. */
const ringBytes = 2 ** 30;

/** Gathers the frames of one reply and writes them out at its end. */
export class ActivityDump {
  private readonly tokens: FramesProgress['tokens'] = [];
  private readonly frames: FramesProgress['frames'] = [];

  private constructor(
    private readonly runtime: Runtime,
    private readonly file: string,
    private readonly folder: string,
  ) {}

  /** Captures from now on. Errors: disk-full. */
  static async begin(runtime: Runtime, file: string, auditEvery: number): Promise<ActivityDump> {
    const folder = await mkdtemp(path.join(tmpdir(), 'hunch-ring-'));
    runtime.activity.watch({ mode: 'full', auditEvery }, { path: path.join(folder, 'ring'), bytes: ringBytes });
    return new ActivityDump(runtime, file, folder);
  }

  add({ tokens, frames }: FramesProgress): void {
    this.tokens.push(...tokens);
    this.frames.push(...frames);
  }

  /** `source`: as the reply was asked for. Errors: disk-full, internal (cannot be written). */
  async write(source: string): Promise<void> {
    const out = createWriteStream(this.file);
    const failed = new Promise<never>((_, reject) => out.once('error', (error) => reject(fileError(error, this.file))));
    const written = async (): Promise<void> => {
      for (const [index, token] of this.tokens.entries()) {
        const line = JSON.stringify(this.line(source, index, token)) + '\n';
        if (!out.write(line)) await new Promise<void>((resolve) => out.once('drain', () => resolve()));
      }
      await new Promise<void>((resolve) => out.end(() => resolve()));
    };
    await Promise.race([written(), failed]);
  }

  async close(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }

  /** In base64 the engine's own bytes, too: JSON has no NaN (it becomes null) and no −0. */
  private line(source: string, index: number, token: FramesProgress['tokens'][number]): Record<string, unknown> {
    const [frame, record] = [this.frames[index] ?? null, this.runtime.activity.record(source, index)];
    return {
      index,
      ...token,
      frame: frame && plain(decodeFrame(frame)),
      frameBase64: frame && base64(frame),
      record: record && plain(decodeRecord(record)),
      recordBase64: record && base64(record),
    };
  }
}

const base64 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');

/** Typed arrays would become objects in JSON. */
function plain(frame: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(frame).map(([key, value]) => [
      key,
      ArrayBuffer.isView(value) ? Array.from(value as unknown as ArrayLike<number>) : (value as unknown),
    ]),
  );
}
