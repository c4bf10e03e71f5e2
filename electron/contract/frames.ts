/**
 * The activation frame: what one decode step computed, as the engine writes it (native/src/frames.cpp) and the panel reads it. One layout for
 * the summary (≤ 64 KiB, one per token, kept with the message) and the record (every neuron, kept in the engine's ring). Little-endian;
 * every section starts at a multiple of 4 bytes.
 *
 *   header   16 words of 4 bytes, see `decodeFrame`
 *   layers   [layers] 10 words each, see `FrameLayer`
 *   summary: named, computed (each unless `headerFlag` says otherwise), active u16 [layers][blocks]; missed u16 [layers][blocks] (audit
 *            only); peak f32 [layers][blocks]
 *   record:  states [layers][ceil(neurons / 2)] two neurons a byte, the even one in the low half; counts u32 [layers] of active neurons;
 *            values f32 and gates f32 of the active neurons, layer by layer, by index
 *   heads    flags u8 [layers][heads]; norm f32 [layers][heads]
 */

/** Most bytes of a summary. */
export const maxFrameBytes = 64 * 1024;

const summaryMagic = 0x31464e48; // 'HNF1'
const recordMagic = 0x31524e48; // 'HNR1'
const headerBytes = 64;
const layerBytes = 40;

export const frameRoutes = ['dense', 'exact', 'screened', 'predicted'] as const;
export type FrameRoute = (typeof frameRoutes)[number];
export const frameActivations = ['silu', 'gelu', 'relu', 'drelu'] as const;

/** Bits of a neuron's state in a record. */
export const neuronState = {
  /** A predictor or a low-bit copy of its gate named it. */
  named: 1,
  /** Its up and down rows were read. */
  computed: 2,
  /** Computed, and its gate let something through. */
  active: 4,
  /** Audit only: its gate would have let something through, but it was not computed. */
  missed: 8,
} as const;

/** Bits of the header's flags. Sections of a summary that say nothing new are left out. */
export const headerFlag = {
  audit: 1,
  /** No neuron was named: the section is not there. */
  noneNamed: 2,
  /** All computed neurons were active: the section is not there. */
  computedIsActive: 4,
} as const;

/** Bits of a head's flags. */
export const headFlag = {
  /** A predictor named it. */
  named: 1,
  computed: 2,
} as const;

export interface FrameLayer {
  route: FrameRoute;
  /** A predictor chose among the heads. */
  headsPredicted: boolean;
  /** The route names neurons before it computes them (screened, predicted). */
  names: boolean;
  /** Records: the gates below are there. */
  gatesKnown: boolean;
  headsComputed: number;
  microseconds: number;
  /** Weights read, and what dense would have read. */
  bytes: number;
  denseBytes: number;
  named: number;
  computed: number;
  active: number;
  /** Audit only, else 0. */
  missed: number;
  /** A neuron is active where |act(gate)| exceeds it. */
  gateThreshold: number;
  /** A neuron is named where its score exceeds it. */
  scoreThreshold: number;
}

interface FrameCommon {
  /** The engine's number for the step; a record is asked for by it. */
  sequence: number;
  /** Index in the context of the token that was read, and its id. */
  position: number;
  token: number;
  layers: FrameLayer[];
  neurons: number; // per layer
  heads: number; // per layer
  /** The step also looked at what it skipped: `missed` is known. */
  audit: boolean;
  activation: (typeof frameActivations)[number];
  microseconds: number;
  /** Weights read, output head included, and what dense reads. */
  bytes: number;
  denseBytes: number;
  predictorMicroseconds: number;
  headFlags: Uint8Array; // [layers][heads]
  /** Euclidean norm of what the head attended to; NaN where it was not computed. */
  headNorms: Float32Array; // [layers][heads]
}

export interface SummaryFrame extends FrameCommon {
  blockSize: number; // neurons per block; the last one may have fewer
  blocks: number; // per layer
  named: Uint16Array; // [layers][blocks] neurons
  computed: Uint16Array;
  active: Uint16Array;
  /** Null except on audit tokens. */
  missed: Uint16Array | null;
  /** Largest |h| of a block's computed neurons, h = act(gate) · up; 0 where none was. */
  peak: Float32Array;
}

export interface RecordFrame extends FrameCommon {
  /** [layers][ceil(neurons / 2)], see `stateOf`. */
  states: Uint8Array;
  /** Where a layer's values begin; [layers + 1]. */
  offsets: Uint32Array;
  /** h = act(gate) · up of the active neurons. */
  values: Float32Array;
  /** Their gates before the activation (up, where the MLP has no gate); meaningless where the layer's `gatesKnown` is false. */
  gates: Float32Array;
}

export class FrameError extends Error {}

/** Reads on from a place; every section is copied, so that nothing points into the message it came in. */
class Reader {
  at = 0;
  private readonly view: DataView;
  constructor(private readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
  private take(size: number): number {
    const at = this.at;
    if (size > this.bytes.byteLength - at) throw new FrameError('The activation frame is cut off.');
    this.at = at + Math.ceil(size / 4) * 4;
    return at;
  }
  u8(): number {
    return this.view.getUint8(this.at++);
  }
  u16(): number {
    this.at += 2;
    return this.view.getUint16(this.at - 2, true);
  }
  u32(): number {
    return this.view.getUint32(this.take(4), true);
  }
  i32(): number {
    return this.view.getInt32(this.take(4), true);
  }
  f32(): number {
    return this.view.getFloat32(this.take(4), true);
  }
  private copy(size: number): ArrayBuffer {
    const at = this.take(size);
    return this.bytes.slice(at, at + size).buffer as ArrayBuffer;
  }
  bytesOf(count: number): Uint8Array {
    return new Uint8Array(this.copy(count));
  }
  u16s(count: number): Uint16Array {
    return new Uint16Array(this.copy(count * 2));
  }
  u32s(count: number): Uint32Array {
    return new Uint32Array(this.copy(count * 4));
  }
  f32s(count: number): Float32Array {
    return new Float32Array(this.copy(count * 4));
  }
}

interface Header {
  common: Omit<FrameCommon, 'headFlags' | 'headNorms'>;
  blockSize: number;
  blocks: number;
  flags: number;
}

function readHeader(reader: Reader, bytes: Uint8Array, magic: number): Header {
  if (bytes.byteLength < headerBytes || reader.u32() !== magic) {
    throw new FrameError('These bytes are no activation frame of this version of Hunch.');
  }
  const [sequence, position, token] = [reader.u32(), reader.u32(), reader.i32()];
  const [layerCount, neurons, heads] = [reader.u32(), reader.u32(), reader.u32()];
  const [blockSize, blocks, flags] = [reader.u32(), reader.u32(), reader.u32()];
  const [microseconds, byteCount, denseBytes] = [reader.f32(), reader.f32(), reader.f32()];
  const predictorMicroseconds = reader.f32();
  const activation = frameActivations[reader.u32()];
  reader.u32(); // spare
  const room = bytes.byteLength - headerBytes;
  if (activation === undefined || layerCount > room / layerBytes || neurons > 2 ** 24 || heads > 2 ** 16) {
    throw new FrameError('The activation frame has sizes that cannot be.');
  }
  const layers: FrameLayer[] = [];
  for (let i = 0; i < layerCount; i++) layers.push(readLayer(reader));
  const audit = (flags & headerFlag.audit) !== 0;
  const common = { sequence, position, token, layers, neurons, heads, audit, activation };
  return {
    common: { ...common, microseconds, bytes: byteCount, denseBytes, predictorMicroseconds },
    blockSize,
    blocks,
    flags,
  };
}

function readLayer(reader: Reader): FrameLayer {
  const route = frameRoutes[reader.u8()];
  if (route === undefined) throw new FrameError('The activation frame names a route that does not exist.');
  const flags = reader.u8();
  return {
    route,
    headsPredicted: (flags & 1) !== 0,
    names: (flags & 2) !== 0,
    gatesKnown: (flags & 4) !== 0,
    headsComputed: reader.u16(),
    microseconds: reader.f32(),
    bytes: reader.f32(),
    denseBytes: reader.f32(),
    named: reader.u32(),
    computed: reader.u32(),
    active: reader.u32(),
    missed: reader.u32(),
    gateThreshold: reader.f32(),
    scoreThreshold: reader.f32(),
  };
}

/** Errors: FrameError (cut off, another version, sizes that cannot be). */
export function decodeFrame(bytes: Uint8Array): SummaryFrame {
  const reader = new Reader(bytes);
  const { common, blockSize, blocks, flags } = readHeader(reader, bytes, summaryMagic);
  if (blockSize === 0 || blocks !== Math.ceil(common.neurons / blockSize)) {
    throw new FrameError('The activation frame has sizes that cannot be.');
  }
  const cells = common.layers.length * blocks;
  // A crafted file may leave sections out and claim any size: what is there has to carry the rest.
  if (cells * 6 > bytes.byteLength) throw new FrameError('The activation frame is cut off.');
  const named = flags & headerFlag.noneNamed ? new Uint16Array(cells) : reader.u16s(cells);
  const before = flags & headerFlag.computedIsActive ? null : reader.u16s(cells);
  const active = reader.u16s(cells);
  const computed = before ?? active.slice();
  const missed = common.audit ? reader.u16s(cells) : null;
  const peak = reader.f32s(cells);
  return { ...common, blockSize, blocks, named, computed, active, missed, peak, ...readHeads(reader, common) };
}

/** Errors: as `decodeFrame`. */
export function decodeRecord(bytes: Uint8Array): RecordFrame {
  const reader = new Reader(bytes);
  const { common } = readHeader(reader, bytes, recordMagic);
  const layers = common.layers.length;
  const states = reader.bytesOf(layers * Math.ceil(common.neurons / 2));
  const counts = reader.u32s(layers);
  const offsets = new Uint32Array(layers + 1);
  for (let i = 0; i < layers; i++) {
    if (counts[i]! > common.neurons) throw new FrameError('The activation frame has sizes that cannot be.');
    offsets[i + 1] = offsets[i]! + counts[i]!;
  }
  const total = offsets[layers]!;
  const values = reader.f32s(total);
  const gates = reader.f32s(total);
  return { ...common, states, offsets, values, gates, ...readHeads(reader, common) };
}

function readHeads(
  reader: Reader,
  { layers, heads }: Header['common'],
): { headFlags: Uint8Array; headNorms: Float32Array } {
  const count = layers.length * heads;
  return { headFlags: reader.bytesOf(count), headNorms: reader.f32s(count) };
}

const viewOf = (frame: Uint8Array): DataView => new DataView(frame.buffer, frame.byteOffset, frame.byteLength);

/** The step's number alone, where decoding the whole frame for it would be too much. */
export const sequenceOf = (frame: Uint8Array): number => viewOf(frame).getUint32(4, true);

/** Milliseconds of the step, likewise; null on audit tokens, which take longer. */
export function stepMs(frame: Uint8Array): number | null {
  const view = viewOf(frame);
  return view.getUint32(36, true) & headerFlag.audit ? null : view.getFloat32(40, true) / 1000;
}

/** Bits of `neuronState`. */
export function stateOf(record: RecordFrame, layer: number, neuron: number): number {
  const byte = record.states[layer * Math.ceil(record.neurons / 2) + (neuron >> 1)]!;
  return neuron & 1 ? byte >> 4 : byte & 15;
}

/** One layer of a record, neuron by neuron: h, NaN where it was not computed, 0 where computed but not active. [neurons] */
export function layerValues(record: RecordFrame, layer: number, of: 'values' | 'gates' = 'values'): Float32Array {
  const out = new Float32Array(record.neurons);
  let at = record.offsets[layer]!;
  for (let neuron = 0; neuron < record.neurons; neuron++) {
    const state = stateOf(record, layer, neuron);
    if (state & neuronState.active) out[neuron] = record[of][at++]!;
    else if (!(state & neuronState.computed)) out[neuron] = Number.NaN;
  }
  return out;
}
