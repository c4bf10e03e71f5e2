import { create, toBinary } from '@bufbuild/protobuf';
import { build } from 'esbuild';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { AttributeProto_AttributeType, AttributeProtoSchema, ModelProtoSchema, type ModelProto } from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { encodePredictors } from '../../../electron/sparsity/onnx';
import { openReference } from '../../../electron/sparsity/reference';
import { seededRandom } from '../../helpers/random';
import { changedOnnx, floats, refusal, samplePredictors, scores, shape, tempFolder, tensor } from './helpers';

const folder = tempFolder();

/** Three layers, ReLU between them and a sigmoid at the end, with names of its own: as DejaVu and PowerInfer train them. */
function foreign(
  batch: { dimParam: string } | { dimValue: bigint },
  change: (model: ModelProto) => void = () => {},
): Uint8Array {
  const random = seededRandom(5);
  const value = (name: string, columns: number): object => ({
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: 1,
          shape: {
            dim: [
              'dimParam' in batch
                ? { value: { case: 'dimParam', value: batch.dimParam } }
                : { value: { case: 'dimValue', value: batch.dimValue } },
              { value: { case: 'dimValue', value: BigInt(columns) } },
            ],
          },
        },
      },
    },
  });
  const transB = { name: 'transB', type: AttributeProto_AttributeType.INT, i: 1n };
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: '', version: 17n }],
    graph: {
      name: 'main_graph',
      initializer: [
        tensor('net.0.weight', [6, 8], floats(48, random)), // PyTorch's [out, in]
        tensor('net.0.bias', [6], floats(6, random)),
        tensor('net.2.weight', [5, 6], floats(30, random)),
        tensor('net.2.bias', [5], floats(5, random)),
        tensor('net.4.weight', [20, 5], floats(100, random)),
      ],
      node: [
        { opType: 'Gemm', input: ['blk.2.mlp.in', 'net.0.weight', 'net.0.bias'], output: ['h0'], attribute: [transB] },
        { opType: 'Relu', input: ['h0'], output: ['h1'] },
        { opType: 'Gemm', input: ['h1', 'net.2.weight', 'net.2.bias'], output: ['h2'], attribute: [transB] },
        { opType: 'Relu', input: ['h2'], output: ['h3'] },
        { opType: 'Gemm', input: ['h3', 'net.4.weight'], output: ['h4'], attribute: [transB] },
        { opType: 'Sigmoid', input: ['h4'], output: ['blk.2.mlp.score'] },
      ],
      input: [value('blk.2.mlp.in', 8)],
      output: [value('blk.2.mlp.score', 20)],
    },
  } as Parameters<typeof create<typeof ModelProtoSchema>>[1]);
  change(model);
  return toBinary(ModelProtoSchema, model);
}

function foreignScores(input: Float32Array): number[] {
  const random = seededRandom(5);
  const layer = (x: number[], rows: number, weights: Float32Array, bias: Float32Array | null): number[] =>
    Array.from({ length: rows }, (_, r) =>
      x.reduce((sum, v, i) => sum + v * weights[r * x.length + i]!, bias?.[r] ?? 0),
    );
  const relu = (x: number[]): number[] => x.map((v) => Math.max(0, v));
  let x = relu(layer([...input], 6, floats(48, random), floats(6, random)));
  x = relu(layer(x, 5, floats(30, random), floats(5, random)));
  return layer(x, 20, floats(100, random), null).map((v) => 1 / (1 + Math.exp(-v)));
}

describe('our predictors in onnxruntime', () => {
  it('give what plain arithmetic gives, within 1e-5, for every layer and kind', async () => {
    const predictors = samplePredictors();
    const reference = await openReference(encodePredictors(predictors, shape));
    expect(reference.layers).toEqual({ mlp: [1, 2], heads: [2] });
    const inputs = floats(7 * shape.width, seededRandom(11));
    for (const [kind, layer, rows] of [
      ['mlp', 1, shape.neurons],
      ['mlp', 2, shape.neurons],
      ['heads', 2, shape.heads],
    ] as const) {
      const got = await reference.run(layer, kind, inputs, 7);
      expect(got).toHaveLength(7 * rows);
      for (let i = 0; i < 7; i++) {
        const want = scores(predictors[kind][layer]!, rows, inputs.subarray(i * shape.width, (i + 1) * shape.width));
        want.forEach((score, row) => expect(Math.abs(got[i * rows + row]! - score)).toBeLessThan(1e-5));
      }
    }
    await reference.close();
  });

  it('are opened by path', async () => {
    const file = path.join(folder, 'predictors.onnx');
    writeFileSync(file, encodePredictors(samplePredictors(), shape));
    const reference = await openReference(file);
    expect(reference.layers.mlp).toEqual([1, 2]);
    await reference.close();
  });

  it('refuse layers they lack and inputs of another size', async () => {
    const reference = await openReference(encodePredictors(samplePredictors(), shape));
    expect(await refusal(() => reference.run(0, 'mlp', new Float32Array(8), 1))).toEqual({
      code: 'bad-request',
      message: 'predictors.onnx has no predictor blk.0.mlp.score.',
    });
    for (const [length, count] of [
      [7, 1],
      [8, 2],
      [0, 0],
      [8, 0.5],
    ] as const) {
      expect((await refusal(() => reference.run(1, 'mlp', new Float32Array(length), count))).code).toBe('bad-request');
    }
    await reference.close();
  });
});

describe("a third party's graph", () => {
  it.each([
    ['any batch', { dimParam: 'N' }],
    ['batches of one', { dimValue: 1n }],
  ])('of three layers with a sigmoid runs, exported for %s', async (_what, batch) => {
    const reference = await openReference(foreign(batch));
    expect(reference.layers).toEqual({ mlp: [2], heads: [] });
    const inputs = floats(3 * 8, seededRandom(12));
    const got = await reference.run(2, 'mlp', inputs, 3);
    for (let i = 0; i < 3; i++) {
      const want = foreignScores(inputs.subarray(i * 8, i * 8 + 8));
      want.forEach((score, row) => expect(Math.abs(got[i * 20 + row]! - score)).toBeLessThan(1e-5));
    }
    await reference.close();
  });

  const entry = (value: string): object => ({ $typeName: 'onnx.StringStringEntryProto', key: 'location', value });
  const elsewhere = (value: string) => (model: ModelProto) => {
    const weights = model.graph!.initializer[0]!;
    Object.assign(weights, { rawData: new Uint8Array(), dataLocation: 1, externalData: [entry(value)] });
  };
  const attribute = (change: object) => (model: ModelProto) =>
    model.graph!.node[0]!.attribute.push(Object.assign(create(AttributeProtoSchema, { name: 'x' }), change));
  const nested = { ...tensor('t', [1], new Float32Array(1)), dataLocation: 1, externalData: [entry('/etc/passwd')] };

  it.each([
    ['data in another file', elsewhere('/etc/passwd'), 'data outside the file'],
    ["data in the process's own memory", elsewhere('*/_ORT_MEM_ADDR_/*'), 'data outside the file'],
    ['data in another file within an attribute', attribute({ t: nested }), 'data outside the file'],
    [
      'a loop',
      attribute({
        g: {
          $typeName: 'onnx.GraphProto',
          name: 'body',
          node: [],
          initializer: [],
          sparseInitializer: [],
          docString: '',
          input: [],
          output: [],
          valueInfo: [],
          quantizationAnnotation: [],
          metadataProps: [],
        },
      }),
      'branches or loops',
    ],
    ['a width of 2^40', (model: ModelProto) => endless(model), 'of 1099511627776 columns'],
    ['a batch of four', (model: ModelProto) => dims(model, 0, 4n), 'batches of 4 only'],
    ['an unknown operator', (model: ModelProto) => (model.graph!.node[1]!.opType = 'Magic'), 'refused by onnxruntime'],
    [
      'weights that do not fit',
      (model: ModelProto) => (model.graph!.initializer[2]!.dims = [6n, 5n]),
      'refused by onnxruntime',
    ],
    ['a float64 input', (model: ModelProto) => elements(model, 11), 'onnxruntime'],
    ['another input name', (model: ModelProto) => other(model, 'x'), 'all inputs must be blk.N.mlp.in'],
    ['no scores', (model: ModelProto) => rename(model), 'no output blk.N.mlp.score'],
  ])('with %s is refused', async (_what, change, said) => {
    const { code, message } = await refusal(() =>
      openReference(foreign({ dimParam: 'N' }, (model) => void change(model))),
    );
    expect(message).toContain(said);
    expect(code).toBe('pack-invalid');
  });

  function tensorType(model: ModelProto): { elemType: number; dim: unknown[] } {
    const type = model.graph!.input[0]!.type!.value;
    if (type.case !== 'tensorType') throw new Error('no tensor');
    return Object.assign(type.value, { dim: type.value.shape!.dim });
  }
  function dims(model: ModelProto, at: number, value: bigint): void {
    Object.assign(tensorType(model).dim[at]!, { value: { case: 'dimValue', value } });
  }
  function endless(model: ModelProto): void {
    dims(model, 1, 2n ** 40n);
    model.graph!.node = [model.graph!.node[5]!];
    model.graph!.node[0]!.input = ['blk.2.mlp.in'];
    model.graph!.output[0]!.type = model.graph!.input[0]!.type;
  }
  function elements(model: ModelProto, elemType: number): void {
    tensorType(model).elemType = elemType;
  }
  function other(model: ModelProto, name: string): void {
    model.graph!.input[0]!.name = name;
    model.graph!.node[0]!.input[0] = name;
  }
  function rename(model: ModelProto): void {
    model.graph!.output[0]!.name = 'y';
    model.graph!.node[5]!.output[0] = 'y';
  }

  it('that fails while it runs says so', async () => {
    // The width is left open, so onnxruntime only sees at run time that 9 values do not fit.
    const bytes = changedOnnx((model) => {
      for (const { type } of model.graph!.input) {
        if (type?.value.case === 'tensorType') type.value.value.shape!.dim[1]!.value = { case: 'dimParam', value: 'W' };
      }
    });
    const reference = await openReference(bytes);
    const { code, message } = await refusal(() => reference.run(1, 'mlp', new Float32Array(9), 1));
    expect(code).toBe('pack-invalid');
    expect(message).toContain('fails at blk.1.mlp.score');
    await reference.close();
  });

  it('that is missing or no ONNX at all is refused', async () => {
    expect((await refusal(() => openReference(path.join(folder, 'none.onnx')))).code).toBe('not-found');
    expect((await refusal(() => openReference(Buffer.from('hello')))).code).toBe('pack-invalid');
  });
});

describe('onnxruntime', () => {
  it('is loaded on first use only, works as a Node 16 bundle, and reports nothing to anyone', async () => {
    // Bundled as the app is, in a process of its own without CI, where onnxruntime would otherwise set up its reports.
    const home = path.join(folder, 'home');
    mkdirSync(home);
    const packages = path.resolve('node_modules');
    symlinkSync(packages, path.join(folder, 'node_modules'), 'junction');
    const script = path.join(folder, 'script.cjs');
    await build({
      stdin: {
        contents: `
          import { openReference } from './electron/sparsity/reference';
          const loaded = () => Object.keys(require.cache).some((file) => file.includes('onnxruntime'));
          const before = loaded();
          openReference(process.argv[2]).then(async (reference) => {
            const scores = await reference.run(1, 'mlp', new Float32Array(8), 1);
            console.log(JSON.stringify({ before, after: loaded(), scores: scores.length, off: process.env.ORT_DISABLE_TELEMETRY }));
          });`,
        resolveDir: path.resolve('.'),
      },
      bundle: true,
      platform: 'node',
      format: 'cjs',
      target: 'node16',
      external: ['onnxruntime-node'],
      outfile: script,
    });
    const model = path.join(folder, 'child.onnx');
    writeFileSync(model, encodePredictors(samplePredictors(), shape));
    const env = {
      PATH: process.env['PATH'],
      SystemRoot: process.env['SystemRoot'],
      HOME: home,
      USERPROFILE: home,
      TMPDIR: home,
    };
    const said = execFileSync(process.execPath, [script, model], { env, encoding: 'utf8' });
    expect(JSON.parse(said)).toEqual({ before: false, after: true, scores: shape.neurons, off: '1' });
    expect(readdirSync(home, { recursive: true })).toEqual([]); // no device id, no queue of events
  });
});
