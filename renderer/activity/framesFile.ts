import { z } from 'zod';
import { editSchema } from '../../electron/contract/activity';
import { decodeFrame, decodeRecord, maxFrameBytes, type SummaryFrame } from '../../electron/contract/frames';
import type { Provenance, Source } from './source';
import { FrameTrack } from './track';

/**
 * A .hunchframes file, little-endian: 'HNFS', version u32, bytes of the head u32, the head as JSON (UTF-8), then every frame and every record
 * (contract/frames.ts) one after another, in the order and with the lengths that the head gives. docs/panel.md describes it for others.
 */

const magic = 0x53464e48; // 'HNFS'
const version = 1;
const fixedBytes = 12;
/** What an import may have at most; `activity.save` has the same limit of bytes. */
export const maxFileBytes = 2 ** 28;
const maxHeadBytes = 2 ** 26;
const maxTokens = 200_000;
const maxRecordBytes = 2 ** 25;

// The page's policy forbids compiled checks.
z.config({ jitless: true });

const tokenSchema = z.object({ id: z.number().int(), text: z.string().max(1024) });
const provenanceSchema = z.object({
  modelName: z.string().max(400),
  modelHash: z.string().regex(/^[0-9a-f]{0,64}$/),
  sparsity: z.string().max(400),
  seed: z.number().int(),
  version: z.string().max(100),
  edits: z.array(editSchema).max(256),
});
const headSchema = z.object({
  format: z.literal('hunchframes'),
  label: z.string().max(400),
  provenance: provenanceSchema.nullable(),
  tokens: z.array(tokenSchema).max(maxTokens),
  /** Bytes of each token's frame; 0 = none. */
  frames: z.array(z.number().int().min(0).max(maxFrameBytes)).max(maxTokens),
  /** Tokens whose records are in the file, and their bytes. */
  records: z
    .array(z.object({ token: z.number().int().min(0), bytes: z.number().int().min(1).max(maxRecordBytes) }))
    .max(maxTokens),
  surprise: z.array(z.number().nullable()).max(maxTokens).nullable(),
  tokensPerSecond: z.number().finite().nullable(),
  kl: z.number().finite().nullable(),
});
type Head = z.infer<typeof headSchema>;

const jsonSchema = headSchema.omit({ format: true, frames: true, records: true, tokens: true }).extend({
  format: z.literal('hunch-activity'),
  version: z.literal(1),
  tokens: z
    .array(
      tokenSchema.extend({
        frame: z
          .string()
          .max(maxFrameBytes * 2)
          .nullable(),
      }),
    )
    .max(maxTokens),
});

/** A file that cannot be shown; the message is a sentence for the person. */
export class FramesFileError extends Error {}

/** A source as read from a file, and the records that came with it. */
export interface ImportedSource {
  source: Source;
  records: Map<number, Uint8Array>;
}

const surpriseOf = (values: (number | null)[] | null): Float32Array | null =>
  values && Float32Array.from(values, (value) => value ?? Number.NaN);
const surpriseList = ({ surprise }: Source): (number | null)[] | null =>
  surprise && [...surprise].map((value) => (Number.isFinite(value) ? value : null));

/** `frames`: of every token; `records`: of some. */
export function writeFramesFile(
  source: Source,
  frames: readonly (Uint8Array | null)[],
  records: ReadonlyMap<number, Uint8Array> = new Map(),
): Uint8Array {
  const parts = [...frames.filter((frame): frame is Uint8Array => frame !== null), ...records.values()];
  const head: Head = {
    format: 'hunchframes',
    label: source.label,
    provenance: copyProvenance(source.provenance),
    tokens: source.track.tokens.map(({ id, text }) => ({ id, text })),
    frames: frames.map((frame) => frame?.byteLength ?? 0),
    records: [...records].map(([token, bytes]) => ({ token, bytes: bytes.byteLength })),
    surprise: surpriseList(source),
    tokensPerSecond: source.tokensPerSecond,
    kl: source.kl,
  };
  const headBytes = new TextEncoder().encode(JSON.stringify(head));
  const size = parts.reduce((sum, part) => sum + part.byteLength, fixedBytes + headBytes.byteLength);
  if (size > maxFileBytes)
    throw new FramesFileError('This is more than a file may hold (268 MB). Export fewer tokens.');
  const file = new Uint8Array(size);
  const view = new DataView(file.buffer);
  view.setUint32(0, magic, true);
  view.setUint32(4, version, true);
  view.setUint32(8, headBytes.byteLength, true);
  file.set(headBytes, fixedBytes);
  let at = fixedBytes + headBytes.byteLength;
  for (const part of parts) {
    file.set(part, at);
    at += part.byteLength;
  }
  return file;
}

const copyProvenance = (provenance: Provenance | null): Head['provenance'] =>
  provenance && { ...provenance, edits: provenance.edits.map((edit) => ({ ...edit })) };

/** The same as JSON: figures that can be read, and each frame in base64, so that it can be shown again. */
export function writeJson(source: Source, frames: readonly (Uint8Array | null)[]): Uint8Array {
  const { track } = source;
  const finite = (value: number): number | null => (Number.isFinite(value) ? value : null);
  const text = JSON.stringify({
    format: 'hunch-activity',
    version: 1,
    label: source.label,
    provenance: copyProvenance(source.provenance),
    tokensPerSecond: source.tokensPerSecond,
    kl: source.kl,
    surprise: surpriseList(source),
    tokens: track.tokens.map(({ id, text }, i) => ({
      id,
      text,
      bytes: finite(track.figure('bytes', i)),
      denseBytes: finite(track.figure('denseBytes', i)),
      active: finite(track.figure('active', i)),
      computed: finite(track.figure('computed', i)),
      predicted: finite(track.figure('named', i)),
      missed: finite(track.figure('missed', i)),
      milliseconds: finite(track.figure('milliseconds', i)),
      frame: frames[i] ? toBase64(frames[i]) : null,
    })),
  });
  const bytes = new TextEncoder().encode(text);
  if (bytes.byteLength > maxFileBytes) {
    throw new FramesFileError('As JSON this is more than a file may hold (268 MB). Export it as .hunchframes.');
  }
  return bytes;
}

/** Errors: FramesFileError. Nothing is taken over from a file that is not sound to the end. */
export function readFramesFile(bytes: Uint8Array, id: string, name: string): ImportedSource {
  if (bytes.byteLength > maxFileBytes) throw new FramesFileError(`“${name}” is larger than Hunch reads (268 MB).`);
  const first = bytes.byteLength >= 4 ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) : 0;
  if (first === magic) return readBinary(bytes, id, name);
  if (bytes[0] === 0x7b) return readJson(bytes, id, name);
  throw new FramesFileError(`“${name}” holds no activations that Hunch has written.`);
}

function parseJson<T>(schema: z.ZodType<T>, bytes: Uint8Array, name: string): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)));
  } catch {
    throw new FramesFileError(`“${name}” is damaged or was not written by Hunch: its head cannot be read.`);
  }
}

function readBinary(bytes: Uint8Array, id: string, name: string): ImportedSource {
  if (bytes.byteLength < fixedBytes) throw new FramesFileError(`“${name}” is cut off.`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(4, true) !== version) {
    throw new FramesFileError(`“${name}” was written by another version of Hunch than this one can read.`);
  }
  const headBytes = view.getUint32(8, true);
  if (headBytes > maxHeadBytes || headBytes > bytes.byteLength - fixedBytes) {
    throw new FramesFileError(`“${name}” is cut off.`);
  }
  const head = parseJson(headSchema, bytes.subarray(fixedBytes, fixedBytes + headBytes), name);
  const size = [...head.frames, ...head.records.map((record) => record.bytes)].reduce((a, b) => a + b, 0);
  if (head.frames.length !== head.tokens.length || size !== bytes.byteLength - fixedBytes - headBytes) {
    throw new FramesFileError(`“${name}” is cut off or damaged: its parts do not fit together.`);
  }
  let at = fixedBytes + headBytes;
  const take = (length: number): Uint8Array => bytes.slice(at, (at += length));
  const frames = head.frames.map((length) => (length === 0 ? null : take(length)));
  const records = new Map<number, Uint8Array>();
  for (const { token, bytes: length } of head.records) {
    const record = take(length);
    const own = shapeOf(check(() => decodeRecord(record), name));
    const frame = frames[token];
    if (!frame || own !== shapeOf(check(() => decodeFrame(frame), name))) {
      throw new FramesFileError(`“${name}” is damaged: a record does not belong to its token.`);
    }
    records.set(token, record);
  }
  return { source: build(head, frames, id, name, records.size > 0), records };
}

function readJson(bytes: Uint8Array, id: string, name: string): ImportedSource {
  const file = parseJson(jsonSchema, bytes, name);
  const frames = file.tokens.map(({ frame }) => (frame === null ? null : fromBase64(frame, name)));
  return { source: build(file, frames, id, name, false), records: new Map() };
}

function build(
  head: Omit<Head, 'format' | 'frames' | 'records'>,
  frames: (Uint8Array | null)[],
  id: string,
  name: string,
  records: boolean,
): Source {
  let shape: string | null = null;
  for (const frame of frames) {
    if (!frame) continue;
    const decoded = check(() => decodeFrame(frame), name);
    const own = `${shapeOf(decoded)} ${decoded.blockSize}`;
    if (decoded.layers.length === 0 || decoded.neurons === 0 || decoded.heads === 0) {
      throw new FramesFileError(`“${name}” is damaged: a frame has no layers, neurons or heads.`);
    }
    if (shape !== null && own !== shape) throw new FramesFileError(`“${name}” is damaged: its frames differ in shape.`);
    shape = own;
  }
  const track = new FrameTrack(false);
  track.put(
    0,
    head.tokens.map(({ id, text }) => ({ id, text })),
    frames,
  );
  return {
    id,
    kind: 'imported',
    label: `${name}: ${head.label}`,
    messageId: null,
    track,
    provenance: head.provenance,
    surprise: surpriseOf(head.surprise),
    tokensPerSecond: head.tokensPerSecond,
    kl: head.kl,
    text: head.tokens.map(({ text }) => text).join(''),
    records,
  };
}

const shapeOf = ({ layers, neurons, heads }: Pick<SummaryFrame, 'layers' | 'neurons' | 'heads'>): string =>
  [layers.length, neurons, heads].join(' ');

function check<T>(decode: () => T, name: string): T {
  try {
    return decode();
  } catch {
    throw new FramesFileError(`“${name}” is damaged: one of its frames cannot be read.`);
  }
}

function toBase64(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(text);
}

function fromBase64(text: string, name: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    throw new FramesFileError(`“${name}” is damaged: one of its frames cannot be read.`);
  }
}
