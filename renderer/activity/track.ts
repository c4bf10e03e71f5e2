import type { ActivityToken } from '../../electron/contract/activity';
import { decodeFrame, type SummaryFrame } from '../../electron/contract/frames';

/** What the strip shows of each token; NaN where it has no frame (missed: where it was not audited). */
export const figureNames = ['bytes', 'denseBytes', 'active', 'computed', 'named', 'missed', 'milliseconds'] as const;
export type FigureName = (typeof figureNames)[number];

/** Most bytes of raw frames kept of sources whose frames can be asked for again: of one, and of all of them when another one comes. */
export const keptBytes = 96 * 2 ** 20;
const decodedKept = 48;

/**
 * The tokens of one reply or run, with their frames. Text and figures of every token stay; frames stay as bytes, the longest kept going
 * first where they can be fetched again (`fetchable`), and are decoded when they are looked at.
 */
export class FrameTrack {
  readonly tokens: ActivityToken[] = [];
  private readonly raw: (Uint8Array | null | undefined)[] = [];
  private figures = figureNames.map(() => new Float32Array(256));
  private order: number[] = [];
  private orderFrom = 0;
  private heldBytes = 0;
  private readonly decoded = new Map<number, SummaryFrame>();
  /** Largest |h| of any block seen. */
  peak = 0;
  /** Largest norm of a head seen. */
  norm = 0;
  audits = 0;
  /** Tokens with a frame, whether or not its bytes are here. */
  framed = 0;
  broken = 0;

  constructor(
    readonly fetchable: boolean,
    private readonly limit = keptBytes,
  ) {}

  get length(): number {
    return this.tokens.length;
  }
  get bytesHeld(): number {
    return this.heldBytes;
  }

  /** Tokens [from, from + tokens.length); those already there get their bytes back. Gaps stay empty until they come. */
  put(from: number, tokens: readonly ActivityToken[], frames: readonly (Uint8Array | null)[]): void {
    for (let i = 0; i < tokens.length; i++) {
      const index = from + i;
      while (this.tokens.length < index) this.blank({ id: -1, text: '' });
      if (index === this.tokens.length) this.blank(tokens[i]!);
      this.tokens[index] = tokens[i]!;
      this.hold(index, frames[i] ?? null);
    }
    this.evict();
  }

  private blank(token: ActivityToken): void {
    const index = this.tokens.length;
    this.tokens.push(token);
    this.raw.push(undefined);
    if (index >= this.figures[0]!.length) {
      this.figures = this.figures.map((old) => {
        const grown = new Float32Array(old.length * 2);
        grown.set(old);
        return grown;
      });
    }
    for (const column of this.figures) column[index] = Number.NaN;
  }

  private hold(index: number, bytes: Uint8Array | null): void {
    const old = this.raw[index];
    if (old) this.heldBytes -= old.byteLength;
    if (bytes === null) {
      this.raw[index] = null;
      return;
    }
    const known = !Number.isNaN(this.figures[0]![index]!);
    if (!known && !this.note(index, bytes)) {
      this.raw[index] = null;
      return;
    }
    this.raw[index] = bytes;
    this.heldBytes += bytes.byteLength;
    if (this.fetchable) this.order.push(index);
  }

  /** Reads a frame's figures; false where it cannot be read. */
  private note(index: number, bytes: Uint8Array): boolean {
    let frame: SummaryFrame;
    try {
      frame = decodeFrame(bytes);
    } catch {
      this.broken++;
      return false;
    }
    const sums = { named: 0, computed: 0, active: 0, missed: 0 };
    for (const layer of frame.layers) {
      sums.named += layer.named;
      sums.computed += layer.computed;
      sums.active += layer.active;
      sums.missed += layer.missed;
    }
    const values: Record<FigureName, number> = {
      ...sums,
      missed: frame.audit ? sums.missed : Number.NaN,
      bytes: frame.bytes,
      denseBytes: frame.denseBytes,
      milliseconds: frame.microseconds / 1000,
    };
    figureNames.forEach((name, i) => (this.figures[i]![index] = values[name]));
    for (let i = 0; i < frame.peak.length; i++) if (frame.peak[i]! > this.peak) this.peak = frame.peak[i]!;
    for (let i = 0; i < frame.headNorms.length; i++) {
      if (frame.headNorms[i]! > this.norm) this.norm = frame.headNorms[i]!;
    }
    if (frame.audit) this.audits++;
    this.framed++;
    this.remember(index, frame);
    return true;
  }

  private evict(): void {
    if (!this.fetchable) return;
    while (this.heldBytes > this.limit && this.orderFrom < this.order.length) {
      const index = this.order[this.orderFrom++]!;
      const bytes = this.raw[index];
      if (!bytes) continue;
      this.heldBytes -= bytes.byteLength;
      this.raw[index] = undefined;
      this.decoded.delete(index);
    }
    if (this.orderFrom > 4096) {
      this.order = this.order.slice(this.orderFrom);
      this.orderFrom = 0;
    }
  }

  /** Frames that can be fetched again are not kept any longer; answers how many bytes that were. Text and figures stay. */
  letGo(): number {
    if (!this.fetchable) return 0;
    const held = this.heldBytes;
    for (let i = 0; i < this.raw.length; i++) if (this.raw[i]) this.raw[i] = undefined;
    this.decoded.clear();
    this.order = [];
    this.orderFrom = 0;
    this.heldBytes = 0;
    return held;
  }

  private remember(index: number, frame: SummaryFrame): void {
    this.decoded.delete(index);
    this.decoded.set(index, frame);
    if (this.decoded.size > decodedKept) this.decoded.delete(this.decoded.keys().next().value!);
  }

  /** undefined: not here, ask for it; null: the token has none. */
  bytes(index: number): Uint8Array | null | undefined {
    return this.raw[index];
  }

  /** As `bytes`, decoded. */
  frame(index: number): SummaryFrame | null | undefined {
    const kept = this.decoded.get(index);
    if (kept) {
      this.remember(index, kept);
      return kept;
    }
    const bytes = this.raw[index];
    if (!bytes) return bytes;
    const frame = decodeFrame(bytes);
    this.remember(index, frame);
    return frame;
  }

  /** [length]; a view of the track's own memory, not to be kept. */
  column(name: FigureName): Float32Array {
    return this.figures[figureNames.indexOf(name)]!.subarray(0, this.length);
  }

  figure(name: FigureName, index: number): number {
    return this.figures[figureNames.indexOf(name)]![index] ?? Number.NaN;
  }

  /** Any frame that is here, for the shape of the model: the last one. */
  anyFrame(): SummaryFrame | null {
    const last = [...this.decoded.values()].pop();
    if (last) return last;
    const index = this.raw.findIndex((bytes) => bytes !== null && bytes !== undefined);
    return index < 0 ? null : (this.frame(index) ?? null);
  }
}
