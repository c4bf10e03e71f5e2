import { open } from 'node:fs/promises';
import path from 'node:path';
import { isMainThread } from 'node:worker_threads';
import type * as Ort from 'onnxruntime-node';
import type { InferenceSession } from 'onnxruntime-node';
import { HunchError } from '../contract/errors';
import { nameOf, parseName, predictorKinds, type PredictorKind } from './names';
import { guardOnnx } from './onnxGuard';
import { packLimits } from './pack';
import { exportAgain, packInvalid, quote } from './packError';

type Runtime = typeof Ort;

/** Single-threaded, so that its results never depend on the machine's load; silent; it writes no files. */
const sessionOptions: InferenceSession.SessionOptions = {
  executionProviders: ['cpu'],
  executionMode: 'sequential',
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  graphOptimizationLevel: 'basic',
  enableProfiling: false,
  logSeverityLevel: 4,
};

/** Predictors as onnxruntime runs them: what native ones are compared with, and graphs of any other shape. */
export interface Reference {
  /** Layers that have a predictor, ascending. */
  readonly layers: Record<PredictorKind, number[]>;
  /** Inputs: [count][width] → scores [count][rows]. Errors: bad-request (no such predictor, sizes), pack-invalid (the graph fails). */
  run(layer: number, kind: PredictorKind, inputs: Float32Array, count: number): Promise<Float32Array>;
  close(): Promise<void>;
}

/**
 * Opens a predictors.onnx of any shape that maps inputs `blk.N.mlp.in` [batch, width] to outputs `blk.N.mlp.score` [batch, rows]
 * (and `.head.`), both float32. Graphs with branches or loops and data outside the file are refused before onnxruntime sees them.
 * Errors: pack-invalid, not-found (no such file), engine-unavailable (no onnxruntime for this system).
 */
export async function openReference(source: string | Uint8Array): Promise<Reference> {
  const fileName = typeof source === 'string' ? path.basename(source) : 'predictors.onnx';
  const bytes = typeof source === 'string' ? await readOnnx(source) : source;
  guardOnnx(bytes, 'graph', fileName);
  const runtime = await loadRuntime();
  let session: InferenceSession;
  try {
    session = await runtime.InferenceSession.create(bytes, sessionOptions); // bytes: a path would let it open files beside
  } catch (error) {
    throw packInvalid(
      `${fileName} is refused by onnxruntime (${quote((error as Error).message, 300)})`,
      exportAgain,
      error,
    );
  }
  try {
    return new OrtReference(runtime, session, fileName);
  } catch (error) {
    await session.release();
    throw error;
  }
}

async function readOnnx(file: string): Promise<Uint8Array> {
  const handle = await open(file, 'r').catch((error: NodeJS.ErrnoException) => {
    throw new HunchError('not-found', `${file} cannot be opened (${error.code}). Check the path.`, { cause: error });
  });
  try {
    const { size } = await handle.stat();
    if (size > packLimits.onnxBytes) {
      throw packInvalid(`${path.basename(file)} is larger than ${packLimits.onnxBytes >> 20} MB`, exportAgain);
    }
    return await handle.readFile();
  } finally {
    await handle.close();
  }
}

let loading: Promise<Runtime> | null = null;

/** Loaded on first use: it maps 45 MB. */
function loadRuntime(): Promise<Runtime> {
  // Since 1.29 onnxruntime reports its use to Microsoft unless this is set in the process's own environment before it starts;
  // a worker thread's process.env is only a copy of that.
  if (!isMainThread) {
    throw new HunchError('engine-unavailable', 'onnxruntime runs on the main thread only. Start it from there.');
  }
  process.env['ORT_DISABLE_TELEMETRY'] = '1';
  loading ??= import('onnxruntime-node').catch((error: Error) => {
    loading = null;
    throw new HunchError(
      'engine-unavailable',
      `onnxruntime cannot be started on this system (${quote(error.message, 200)}). Reinstall Hunch; without it only the comparison of predictors is missing.`,
      { cause: error },
    );
  });
  return loading;
}

class OrtReference implements Reference {
  readonly layers: Record<PredictorKind, number[]> = { mlp: [], heads: [] };
  /** Columns of each input; null where the graph leaves them open. */
  private readonly widths = new Map<string, number | null>();
  /** Inputs that take one row at a time, as exported. */
  private readonly oneByOne = new Set<string>();

  constructor(
    private readonly runtime: Runtime,
    private readonly session: InferenceSession,
    private readonly fileName: string,
  ) {
    for (const info of session.inputMetadata) this.readInput(info);
    for (const info of session.outputMetadata) {
      const name = parseName(info.name);
      if (name?.part !== 'score' || !this.widths.has(nameOf(name.layer, name.kind, 'in'))) continue;
      if (!info.isTensor || info.type !== 'float32') throw this.refuse(`has ${info.name} of another type than float32`);
      this.layers[name.kind].push(name.layer);
    }
    for (const kind of predictorKinds) this.layers[kind].sort((a, b) => a - b);
    if (this.layers.mlp.length + this.layers.heads.length === 0) {
      throw this.refuse(
        'has no output blk.N.mlp.score or blk.N.head.score with an input blk.N.mlp.in or blk.N.head.in',
      );
    }
  }

  async run(layer: number, kind: PredictorKind, inputs: Float32Array, count: number): Promise<Float32Array> {
    const [input, output] = [nameOf(layer, kind, 'in'), nameOf(layer, kind, 'score')];
    if (!this.layers[kind].includes(layer)) {
      throw new HunchError('bad-request', `${this.fileName} has no predictor ${output}.`);
    }
    const width = this.widths.get(input) ?? inputs.length / count;
    if (!Number.isInteger(count) || count < 1 || inputs.length !== count * width || !Number.isInteger(width)) {
      const expected = `${count} rows${this.widths.get(input) ? ` of ${width}` : ''}`;
      throw new HunchError('bad-request', `${input} takes ${expected}, but ${inputs.length} values were given.`);
    }
    if (!this.oneByOne.has(input)) return this.runBatch(input, output, inputs, count, width);
    const rows: Float32Array[] = [];
    for (let i = 0; i < count; i++) {
      rows.push(await this.runBatch(input, output, inputs.subarray(i * width, (i + 1) * width), 1, width));
    }
    const all = new Float32Array(rows.length * rows[0]!.length);
    rows.forEach((row, i) => all.set(row, i * row.length));
    return all;
  }

  close(): Promise<void> {
    return this.session.release();
  }

  private readInput(info: InferenceSession.ValueMetadata): void {
    const shape = info.isTensor && info.type === 'float32' ? info.shape : null;
    if (parseName(info.name)?.part !== 'in' || shape?.length !== 2) {
      throw this.refuse(
        `has the input ${quote(info.name)}; all inputs must be blk.N.mlp.in or blk.N.head.in, float32 [batch, width]`,
      );
    }
    const [batch, width] = shape;
    if (typeof width === 'number' && width > packLimits.width)
      throw this.refuse(`has ${info.name} of ${width} columns`);
    this.widths.set(info.name, typeof width === 'number' ? width : null);
    if (batch === 1) this.oneByOne.add(info.name);
    else if (typeof batch === 'number') throw this.refuse(`has ${info.name} for batches of ${batch} only`);
  }

  private async runBatch(
    input: string,
    output: string,
    inputs: Float32Array,
    count: number,
    width: number,
  ): Promise<Float32Array> {
    const { Tensor } = this.runtime;
    const feeds: Record<string, Ort.Tensor> = {};
    // onnxruntime wants every input, and as many rows in each that names its batch alike: the other predictors get zeros.
    for (const [name, own] of this.widths) {
      const dims = [this.oneByOne.has(name) ? 1 : count, own ?? width];
      const values = name === input ? inputs : new Float32Array(dims[0]! * dims[1]!);
      feeds[name] = new Tensor('float32', values, dims);
    }
    let result;
    try {
      result = (await this.session.run(feeds, [output]))[output];
    } catch (error) {
      throw this.refuse(`fails at ${output} (${quote((error as Error).message, 300)})`, error);
    }
    if (!result || result.dims.length !== 2 || result.dims[0] !== count || !(result.data instanceof Float32Array)) {
      throw this.refuse(
        `answers ${output} with [${result?.dims.join(', ')}] for ${count} rows, not with [${count}, rows]`,
      );
    }
    return result.data.slice(); // the memory may be onnxruntime's own
  }

  private refuse(why: string, cause?: unknown): Error {
    return packInvalid(`${this.fileName} ${why}`, exportAgain, cause);
  }
}
