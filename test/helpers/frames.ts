import {
  frameActivations,
  frameRoutes,
  headFlag,
  headerFlag,
  maxFrameBytes,
  neuronState,
  stateOf,
  type FrameLayer,
  type RecordFrame,
  type SummaryFrame,
} from '../../electron/contract/frames';

/** Writes frames as the engine does (layout: electron/contract/frames.ts), from what the decoder makes of them. For tests. */

const round4 = (bytes: number): number => Math.ceil(bytes / 4) * 4;

class Writer {
  private at = 0;
  private readonly view: DataView;
  constructor(readonly bytes: Uint8Array) {
    this.view = new DataView(bytes.buffer);
  }
  u32(value: number): void {
    this.view.setUint32(this.at, value, true);
    this.at += 4;
  }
  i32(value: number): void {
    this.view.setInt32(this.at, value, true);
    this.at += 4;
  }
  f32(value: number): void {
    this.view.setFloat32(this.at, value, true);
    this.at += 4;
  }
  small(route: number, flags: number, headsComputed: number): void {
    this.view.setUint8(this.at, route);
    this.view.setUint8(this.at + 1, flags);
    this.view.setUint16(this.at + 2, headsComputed, true);
    this.at += 4;
  }
  array(values: Uint8Array | Uint16Array | Uint32Array | Float32Array): void {
    const size = values.BYTES_PER_ELEMENT;
    for (let i = 0; i < values.length; i++) {
      const at = this.at + i * size;
      if (values instanceof Float32Array) this.view.setFloat32(at, values[i]!, true);
      else if (size === 1) this.view.setUint8(at, values[i]!);
      else if (size === 2) this.view.setUint16(at, values[i]!, true);
      else this.view.setUint32(at, values[i]!, true);
    }
    this.at += round4(values.length * size);
  }
}

function writeHead(writer: Writer, magic: number, frame: SummaryFrame | RecordFrame, flags = 0): void {
  const [blockSize, blocks] = 'blocks' in frame ? [frame.blockSize, frame.blocks] : [0, 0];
  writer.u32(magic);
  writer.u32(frame.sequence);
  writer.u32(frame.position);
  writer.i32(frame.token);
  for (const value of [frame.layers.length, frame.neurons, frame.heads, blockSize, blocks]) writer.u32(value);
  writer.u32(frame.audit ? flags | headerFlag.audit : flags);
  for (const value of [frame.microseconds, frame.bytes, frame.denseBytes, frame.predictorMicroseconds]) {
    writer.f32(value);
  }
  writer.u32(frameActivations.indexOf(frame.activation));
  writer.u32(0);
  for (const layer of frame.layers) {
    const flags = (layer.headsPredicted ? 1 : 0) | (layer.names ? 2 : 0) | (layer.gatesKnown ? 4 : 0);
    writer.small(frameRoutes.indexOf(layer.route), flags, layer.headsComputed);
    for (const value of [layer.microseconds, layer.bytes, layer.denseBytes]) writer.f32(value);
    for (const value of [layer.named, layer.computed, layer.active, layer.missed]) writer.u32(value);
    writer.f32(layer.gateThreshold);
    writer.f32(layer.scoreThreshold);
  }
}

const headBytes = (frame: SummaryFrame | RecordFrame): number => 64 + 40 * frame.layers.length;
const tailBytes = ({ layers, heads }: SummaryFrame | RecordFrame): number =>
  round4(layers.length * heads) + 4 * layers.length * heads;

export function encodeFrame(frame: SummaryFrame): Uint8Array {
  const cells = frame.layers.length * frame.blocks;
  // As the engine does: what says nothing new is left out.
  const noneNamed = frame.named.every((count) => count === 0);
  const computedIsActive = frame.computed.every((count, cell) => count === frame.active[cell]);
  const sections = [
    ...(noneNamed ? [] : [frame.named]),
    ...(computedIsActive ? [] : [frame.computed]),
    ...[frame.active, ...(frame.missed ? [frame.missed] : [])],
  ];
  const counts = sections.length * round4(2 * cells);
  const writer = new Writer(new Uint8Array(headBytes(frame) + counts + 4 * cells + tailBytes(frame)));
  const flags = (noneNamed ? headerFlag.noneNamed : 0) | (computedIsActive ? headerFlag.computedIsActive : 0);
  writeHead(writer, 0x31464e48, frame, flags);
  for (const values of sections) writer.array(values);
  writer.array(frame.peak);
  writer.array(frame.headFlags);
  writer.array(frame.headNorms);
  return writer.bytes;
}

export function encodeRecord(record: RecordFrame): Uint8Array {
  const layers = record.layers.length;
  const middle = round4(record.states.length) + 4 * layers + 8 * record.values.length;
  const writer = new Writer(new Uint8Array(headBytes(record) + middle + tailBytes(record)));
  writeHead(writer, 0x31524e48, record);
  writer.array(record.states);
  writer.array(Uint32Array.from({ length: layers }, (_, i) => record.offsets[i + 1]! - record.offsets[i]!));
  writer.array(record.values);
  writer.array(record.gates);
  writer.array(record.headFlags);
  writer.array(record.headNorms);
  return writer.bytes;
}

export interface FrameShape {
  layers: number;
  neurons: number;
  heads: number;
  /** Of summaries; default: the smallest power of two, 8 at least, that keeps an audit frame within 64 KiB. */
  blockSize?: number;
}

/** A Llama of 70 B. */
export const largeShape: FrameShape = { layers: 80, neurons: 28_672, heads: 64 };

export function blockSizeOf({ layers, neurons, heads, blockSize }: FrameShape): number {
  if (blockSize) return blockSize;
  const room = maxFrameBytes - 64 - 40 * layers - round4(layers * heads) - 4 * layers * heads - 16;
  let size = 8;
  while (layers * Math.ceil(neurons / size) * 12 > room) size *= 2;
  return size;
}

/** 0 … 2^32 - 1 of three whole numbers: always the same, without a pattern that a mistake could hide behind. */
function mix(a: number, b: number, c: number): number {
  let x = Math.imul(a + 1, 0x9e3779b1) ^ Math.imul(b + 1, 0x85ebca6b) ^ Math.imul(c + 1, 0xc2b2ae35);
  x = Math.imul(x ^ (x >>> 15), 0x2c1b3c6d);
  x = Math.imul(x ^ (x >>> 12), 0x297a2d39);
  return (x ^ (x >>> 15)) >>> 0;
}
const unit = (a: number, b: number, c: number): number => mix(a, b, c) / 2 ** 32;

/** Every fourth token is audited. Layer 0 is dense, the others go round screened, predicted and exact. */
const auditOf = (sequence: number): boolean => sequence % 4 === 3;
const routeOf = (layer: number): FrameLayer['route'] =>
  layer === 0 ? 'dense' : (['screened', 'predicted', 'exact'] as const)[layer % 3]!;

/** One neuron's state bits in a patterned token: some 30 % named, 12 % active, few missed. */
function patternState(sequence: number, layer: number, neuron: number): number {
  const draw = mix(sequence, layer, neuron);
  const route = routeOf(layer);
  const active = draw % 100 < 12;
  if (route === 'dense') return neuronState.computed | (active ? neuronState.active : 0);
  if (route === 'exact') return active ? neuronState.computed | neuronState.active : 0;
  const named = active ? draw % 1000 !== 3 : draw % 100 < 30;
  if (named) return neuronState.named | neuronState.computed | (active ? neuronState.active : 0);
  return active && auditOf(sequence) ? neuronState.missed : 0;
}

function patternHeads(
  sequence: number,
  { layers, heads }: FrameShape,
): Pick<SummaryFrame, 'headFlags' | 'headNorms'> & { computedOf(layer: number): number } {
  const headFlags = new Uint8Array(layers * heads);
  const headNorms = new Float32Array(layers * heads);
  for (let at = 0; at < headFlags.length; at++) {
    const layer = Math.floor(at / heads);
    const computed = layer % 2 === 0 || mix(sequence, layer, at) % 5 !== 0;
    headFlags[at] = (computed ? headFlag.computed : 0) | (computed && layer % 2 ? headFlag.named : 0);
    headNorms[at] = computed ? 4 * unit(sequence, at, layer) : Number.NaN;
  }
  const computedOf = (layer: number): number =>
    headFlags.subarray(layer * heads, (layer + 1) * heads).reduce((sum, flags) => sum + ((flags >> 1) & 1), 0);
  return { headFlags, headNorms, computedOf };
}

function patternLayer(layer: number, headsComputed: number, neurons: number): FrameLayer {
  const route = routeOf(layer);
  return {
    route,
    headsPredicted: layer % 2 === 1,
    names: route === 'screened' || route === 'predicted',
    gatesKnown: true,
    headsComputed,
    microseconds: 50 + (layer % 7),
    bytes: 0,
    denseBytes: neurons * 1024,
    named: 0,
    computed: 0,
    active: 0,
    missed: 0,
    gateThreshold: 0.125,
    scoreThreshold: -0.5,
  };
}

function frameOf(
  sequence: number,
  shape: FrameShape,
  layers: FrameLayer[],
  heads: ReturnType<typeof patternHeads>,
): Omit<RecordFrame, 'states' | 'offsets' | 'values' | 'gates'> {
  for (const layer of layers) layer.bytes = layer.computed * 1024;
  const { headFlags, headNorms } = heads;
  return {
    ...{ sequence, position: sequence + 20, token: mix(sequence, 0, 0) % 32_000, layers, headFlags, headNorms },
    ...{ neurons: shape.neurons, heads: shape.heads, audit: auditOf(sequence), activation: 'relu' as const },
    microseconds: layers.reduce((sum, layer) => sum + layer.microseconds, 0),
    bytes: layers.reduce((sum, layer) => sum + layer.bytes, 4096),
    denseBytes: layers.reduce((sum, layer) => sum + layer.denseBytes, 4096),
    predictorMicroseconds: 12,
  };
}

/** A record whose every value follows from its sequence number. */
export function patternRecord(shape: FrameShape, sequence: number): RecordFrame {
  const { layers, neurons } = shape;
  const heads = patternHeads(sequence, shape);
  const row = Math.ceil(neurons / 2);
  const states = new Uint8Array(layers * row);
  const offsets = new Uint32Array(layers + 1);
  const values: number[] = [];
  const gates: number[] = [];
  const table: FrameLayer[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const sums = patternLayer(layer, heads.computedOf(layer), neurons);
    for (let neuron = 0; neuron < neurons; neuron++) {
      const state = patternState(sequence, layer, neuron);
      states[layer * row + (neuron >> 1)]! |= neuron & 1 ? state << 4 : state;
      if (state & neuronState.named) sums.named++;
      if (state & neuronState.computed) sums.computed++;
      if (state & neuronState.missed) sums.missed++;
      if (!(state & neuronState.active)) continue;
      sums.active++;
      values.push(Math.fround(unit(neuron, sequence, layer) * 6 - 3));
      gates.push(Math.fround(0.125 + unit(layer, neuron, sequence)));
    }
    offsets[layer + 1] = values.length;
    table.push(sums);
  }
  const arrays = { states, offsets, values: Float32Array.from(values), gates: Float32Array.from(gates) };
  return { ...frameOf(sequence, shape, table, heads), ...arrays };
}

/** The summary that the engine would have written with this record. */
export function summaryOf(record: RecordFrame, blockSize: number): SummaryFrame {
  const { states: _states, offsets, values, gates: _gates, ...common } = record;
  const blocks = Math.ceil(record.neurons / blockSize);
  const cells = record.layers.length * blocks;
  const counts = (): Uint16Array => new Uint16Array(cells);
  const [named, computed, active, missed] = [counts(), counts(), counts(), counts()];
  const peak = new Float32Array(cells);
  for (let layer = 0; layer < record.layers.length; layer++) {
    let at = offsets[layer]!;
    for (let neuron = 0; neuron < record.neurons; neuron++) {
      const state = stateOf(record, layer, neuron);
      const cell = layer * blocks + Math.floor(neuron / blockSize);
      if (state & neuronState.named) named[cell]!++;
      if (state & neuronState.computed) computed[cell]!++;
      if (state & neuronState.missed) missed[cell]!++;
      if (!(state & neuronState.active)) continue;
      active[cell]!++;
      peak[cell] = Math.max(peak[cell]!, Math.abs(values[at++]!));
    }
  }
  return { ...common, blockSize, blocks, named, computed, active, missed: record.audit ? missed : null, peak };
}

/**
 * A summary drawn block by block, for long replays of large models: fast, and consistent in itself, but not that of `patternRecord`.
 */
export function patternFrame(shape: FrameShape, sequence: number): SummaryFrame {
  const { layers, neurons } = shape;
  const blockSize = blockSizeOf(shape);
  const blocks = Math.ceil(neurons / blockSize);
  const cells = layers * blocks;
  const counts = (): Uint16Array => new Uint16Array(cells);
  const [named, computed, active, missed] = [counts(), counts(), counts(), counts()];
  const peak = new Float32Array(cells);
  const heads = patternHeads(sequence, shape);
  const table: FrameLayer[] = [];
  for (let layer = 0; layer < layers; layer++) {
    const sums = patternLayer(layer, heads.computedOf(layer), neurons);
    for (let block = 0; block < blocks; block++) {
      const cell = layer * blocks + block;
      const size = Math.min(blockSize, neurons - block * blockSize);
      const act = Math.floor(size * 0.25 * unit(sequence, layer, block));
      const more = Math.floor((size - act) * 0.2 * unit(block, sequence, layer));
      active[cell] = act;
      computed[cell] = sums.route === 'dense' ? size : sums.route === 'exact' ? act : act + more;
      named[cell] = sums.names ? act + more : 0;
      missed[cell] = sums.names && auditOf(sequence) && mix(block, layer, sequence) % 8 === 0 ? 1 : 0;
      peak[cell] = act ? Math.fround(3 * unit(layer, block, sequence)) : 0;
      sums.named += named[cell]!;
      sums.computed += computed[cell]!;
      sums.active += act;
      sums.missed += missed[cell]!;
    }
    table.push(sums);
  }
  const common = frameOf(sequence, shape, table, heads);
  return { ...common, blockSize, blocks, named, computed, active, missed: common.audit ? missed : null, peak };
}

/** Encoded summaries of `count` tokens in a row: the fixture of a large model's replay. */
export function replay(count: number, shape: FrameShape = largeShape): Uint8Array[] {
  return Array.from({ length: count }, (_, sequence) => encodeFrame(patternFrame(shape, sequence)));
}
