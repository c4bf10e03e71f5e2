import { rmSync } from 'node:fs';
import type { Capture, NeuronRates } from '../contract/activity';
import { HunchError } from '../contract/errors';
import { decodeRecord, layerValues, neuronState, type RecordFrame } from '../contract/frames';
import type { ModelSpec, NativeModel, NativeSession } from './addon';
import type { Ring } from './activityProtocol';
import { ActivitySources } from './activitySources';
import { ActivityTrail } from './activityTrail';
import type { ChatSessions } from './chatSessions';
import { fromNative } from './nativeError';

const off: Capture = { mode: 'off', auditEvery: 0 };
const nowhere: Ring = { path: '', bytes: 0 };

/** Records that one question reads at most, the newest ones: each is read from the disk. */
export const mostRecords = 2000;

/** Lets replies and other questions have their turn. */
const pause = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** What a loaded model notes down while it writes, and what can be asked about it. */
export class ModelActivity {
  readonly sources = new ActivitySources();
  private capture: Capture = off;
  private ring: Ring = nowhere;
  /** The ring that the model writes to. */
  private open: Ring = nowhere;

  constructor(
    private readonly model: NativeModel,
    private readonly spec: ModelSpec,
    private readonly sessions: ChatSessions,
    private readonly textOf: (id: number) => string,
  ) {}

  /** From the next token on, for all chats. Errors: disk-full, bad-request (the ring); summaries are captured all the same. */
  watch(capture: Capture, ring: Ring): void {
    this.ring = ring;
    try {
      if (capture.mode === 'full') this.openRing();
    } finally {
      this.capture = capture;
      for (const [, session] of this.sessions.all()) this.apply(session);
    }
  }

  /** Errors: disk-full, bad-request. */
  openRing(): void {
    const { path, bytes } = this.ring;
    if (path === this.open.path && bytes === this.open.bytes) return;
    try {
      if (bytes > 0 || this.open.bytes > 0) this.model.setRing(path, bytes);
      this.open = this.ring;
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Brings a chat's session to what is watched now. Costs nothing where that has not changed. */
  apply(session: { native: NativeSession; capture: Capture }): void {
    const { mode, auditEvery } = this.capture;
    if (session.capture.mode === mode && session.capture.auditEvery === auditEvery) return;
    session.native.setCapture(this.capture);
    session.capture = this.capture;
  }

  /** `first`: index in the message of the first token that is written now. */
  begin(source: string, prompt: Int32Array, first: number): ActivityTrail {
    return new ActivityTrail(this.sources.begin(source, prompt, first), this.textOf, () => this.sources.shrink());
  }

  /** Null when the ring no longer (or never) held it. */
  record(source: string, index: number): Uint8Array | null {
    return this.recordOf(this.sources.get(source)?.sequences[index] ?? -1);
  }

  /** h of each token; NaN where it is not known. Null: not a source of this model. Errors: bad-request (no such neuron). */
  async neuron(source: string, layer: number, neuron: number): Promise<Float32Array | null> {
    if (layer >= this.spec.layers || neuron >= this.spec.ffnWidth) {
      throw new HunchError(
        'bad-request',
        `This model has ${this.spec.layers} layers of ${this.spec.ffnWidth} neurons, both counted from 0. Choose one of them.`,
      );
    }
    const sequences = this.sources.get(source)?.sequences;
    if (!sequences) return null;
    const values = new Float32Array(sequences.length).fill(Number.NaN);
    const known = [...sequences.entries()].filter(([, sequence]) => sequence >= 0).slice(-mostRecords);
    await this.each(
      known.map(([, sequence]) => sequence),
      (record, i) => {
        values[known[i]![0]] = layerValues(record, layer)[neuron]!;
      },
    );
    return values;
  }

  /** Of a source's tokens, or of all that the ring holds. */
  async rates(source: string | null): Promise<NeuronRates> {
    const { layers, ffnWidth: neurons } = this.spec;
    const active = new Uint32Array(layers * neurons);
    let tokens = 0;
    await this.each(this.newest(source), ({ states }) => {
      tokens++;
      countActive(states, layers, neurons, active);
    });
    return { tokens, layers, neurons, active };
  }

  close(): void {
    if (this.open.bytes === 0) return;
    try {
      this.model.setRing(this.open.path, 0);
      rmSync(this.open.path, { force: true });
    } catch {
      // The next one to use the file replaces it.
    }
  }

  private newest(source: string | null): number[] {
    const sources = source === null ? this.sources.all() : [this.sources.get(source)].flatMap((one) => one ?? []);
    const found: number[] = [];
    for (const { sequences } of sources) {
      for (let at = sequences.length - 1; at >= 0 && found.length < mostRecords; at--) {
        if (sequences[at]! >= 0) found.push(sequences[at]!);
      }
    }
    return found;
  }

  private async each(sequences: readonly number[], take: (record: RecordFrame, i: number) => void): Promise<void> {
    for (const [i, sequence] of sequences.entries()) {
      const bytes = this.recordOf(sequence);
      if (!bytes) continue;
      take(decodeRecord(bytes), i);
      await pause();
    }
  }

  private recordOf(sequence: number): Uint8Array | null {
    if (sequence < 0 || this.open.bytes === 0) return null;
    try {
      return this.model.record(sequence);
    } catch (error) {
      throw fromNative(error);
    }
  }
}

function countActive(states: Uint8Array, layers: number, neurons: number, active: Uint32Array): void {
  const row = Math.ceil(neurons / 2);
  for (let layer = 0; layer < layers; layer++) {
    for (let neuron = 0; neuron < neurons; neuron++) {
      const pair = states[layer * row + (neuron >> 1)]!;
      if ((neuron & 1 ? pair >> 4 : pair) & neuronState.active) active[layer * neurons + neuron]!++;
    }
  }
}
