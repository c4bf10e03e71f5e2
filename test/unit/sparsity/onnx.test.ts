import { create } from '@bufbuild/protobuf';
import {
  AttributeProtoSchema,
  FunctionProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  type ModelProto,
} from 'onnx-buf';
import { describe, expect, it } from 'vitest';
import { decodePredictors, encodePredictors } from '../../../electron/sparsity/onnx';
import { seededRandom } from '../../helpers/random';
import { changedOnnx, floats, infoOf, lowRank, refusal, samplePredictors, shape, tensor } from './helpers';

const graphOf = (model: ModelProto): NonNullable<ModelProto['graph']> => model.graph!;
const initializer = (model: ModelProto, name: string): ReturnType<typeof tensor> =>
  graphOf(model).initializer.find((item) => item.name === name)!;

describe('predictors.onnx', () => {
  it('comes back equal to the bit, also negative zeros and the smallest numbers', () => {
    const predictors = samplePredictors();
    predictors.mlp[1]!.a.set([-0, 1e-45, -1e-40, 3.4e38]);
    const back = decodePredictors(encodePredictors(predictors, shape), shape);
    expect(back).toEqual(predictors); // toEqual tells -0 from 0 only in toStrictEqual of numbers, so the bits too:
    const bits = (values: Float32Array): Uint8Array =>
      new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    expect(bits(back.mlp[1]!.a)).toEqual(bits(predictors.mlp[1]!.a));
    expect(bits(back.mlp[1]!.b)).toEqual(bits(predictors.mlp[1]!.b));
  });

  it('is read from a Buffer at any offset', () => {
    const bytes = encodePredictors(samplePredictors(), shape);
    for (let offset = 0; offset < 4; offset++) {
      const buffer = Buffer.alloc(bytes.length + offset).subarray(offset);
      buffer.set(bytes);
      expect(decodePredictors(buffer, shape)).toEqual(samplePredictors());
    }
  });

  it('is written alike each time', () => {
    expect(encodePredictors(samplePredictors(), shape)).toEqual(encodePredictors(samplePredictors(), shape));
  });

  it('may be float16', () => {
    const values = [0.5, -2, 65504, 2 ** -24, -(2 ** -14), 0.333251953125];
    const halves = [0x3800, 0xc000, 0x7bff, 0x0001, 0x8400, 0x3555];
    const bytes = changedOnnx((model) => {
      const a = initializer(model, 'blk.2.mlp.a');
      a.dataType = TensorProto_DataType.FLOAT16;
      const raw = new Uint16Array(shape.width * 3);
      raw.set(halves);
      a.rawData = new Uint8Array(raw.buffer);
    });
    const { a } = decodePredictors(bytes, shape).mlp[2]!;
    const stored = Array.from({ length: 6 }, (_, i) => a[(i % 3) * shape.width + Math.floor(i / 3)]); // [width, rank] as stored
    expect(stored).toEqual(values);
  });

  it('takes the source from pack.json where the metadata lacks it', async () => {
    const predictors = samplePredictors();
    const bare = changedOnnx((model) => (model.metadataProps = []));
    expect(decodePredictors(bare, shape, infoOf(predictors))).toEqual(predictors);
    expect((await refusal(() => decodePredictors(bare, shape))).message).toContain('blk.1.mlp.source');
  });

  it('may store equal tensors once, which then take memory once', () => {
    const bytes = changedOnnx((model) => {
      const { node, initializer: tensors } = graphOf(model);
      for (const part of ['a', 'b']) {
        const own = tensors.findIndex(({ name }) => name === `blk.2.mlp.${part}`);
        tensors.splice(own, 1);
        const user = node.find(({ input }) => input[1] === `blk.2.mlp.${part}`)!;
        user.input[1] = `blk.1.mlp.${part}`;
      }
      model.metadataProps = model.metadataProps.filter(({ key }) => key !== 'blk.2.mlp.rank');
    });
    const { mlp } = decodePredictors(bytes, shape);
    expect(mlp[2]).toMatchObject({ rank: 5, relu: false, bias: null });
    expect(mlp[2]!.a).toBe(mlp[1]!.a);
    expect(mlp[2]!.b).toBe(mlp[1]!.b);
  });

  it('may add the bias from either side, and list initialisers among the inputs', () => {
    const bytes = changedOnnx((model) => {
      const add = graphOf(model).node.find(({ opType }) => opType === 'Add')!;
      add.input.reverse();
      add.domain = 'ai.onnx';
      graphOf(model).input.push({ ...graphOf(model).input[0]!, name: 'blk.1.mlp.a' });
    });
    expect(decodePredictors(bytes, shape)).toEqual(samplePredictors());
  });

  it.each([
    ['a rank above the width', { rank: shape.width + 1 }],
    ['a wrong length', { a: new Float32Array(3) }],
    ['NaN', { bias: new Float32Array(shape.neurons).fill(NaN) }],
    ['an infinite value', { b: new Float32Array(shape.neurons * 5).fill(Infinity) }],
  ])('is not written with %s', async (_what, change) => {
    const predictors = samplePredictors();
    predictors.mlp[1] = { ...lowRank(shape.neurons, seededRandom(3)), ...change };
    expect((await refusal(() => encodePredictors(predictors, shape))).code).toBe('pack-invalid');
  });
});

/** Each: what is wrong, how, and what the sentence must say. */
const hostile: [string, (model: ModelProto) => void, string][] = [
  ['external data', (model) => external(model, 1), 'data outside the file'],
  ['an external entry without the location', (model) => external(model, 0), 'data outside the file'],
  [
    'the location without an entry',
    (model) => (graphOf(model).initializer[0]!.dataLocation = 1),
    'data outside the file',
  ],
  ['integers', (model) => (graphOf(model).initializer[0]!.dataType = TensorProto_DataType.INT32), 'is INT32'],
  ['an unknown type', (model) => (graphOf(model).initializer[0]!.dataType = 99), 'is type 99'],
  [
    'too little data',
    (model) => (graphOf(model).initializer[0]!.rawData = new Uint8Array(4)),
    '4 bytes of data for a shape of 160',
  ],
  ['dims that overflow', (model) => (graphOf(model).initializer[0]!.dims = [2n ** 62n, 4n]), 'has the shape'],
  [
    'dims whose product is huge',
    (model) => (graphOf(model).initializer[0]!.dims = [2n ** 31n, 2n ** 31n]),
    'bytes of data for a shape',
  ],
  ['negative dims', (model) => (graphOf(model).initializer[0]!.dims = [-8n, -5n]), 'has the shape [-8, -5]'],
  ['no dims', (model) => (graphOf(model).initializer[0]!.dims = []), 'bytes of data for a shape'],
  ['three dims', (model) => (graphOf(model).initializer[0]!.dims = [8n, 5n, 1n]), 'has the shape'],
  ['NaN', (model) => value(model, NaN), 'no finite number'],
  ['an infinite value', (model) => value(model, -Infinity), 'no finite number'],
  ['an infinite half', half, 'no finite number'],
  [
    'a duplicate initialiser',
    (model) => graphOf(model).initializer.push(graphOf(model).initializer[0]!),
    'blk.1.mlp.a twice',
  ],
  ['a missing initialiser', (model) => graphOf(model).initializer.shift(), 'lacks the initialiser blk.1.mlp.a'],
  [
    'an initialiser too many',
    (model) => graphOf(model).initializer.push(tensor('blk.0.mlp.a', [8, 1], new Float32Array(8))),
    'blk.0.mlp.a, which leads to no score',
  ],
  [
    'a name that does not parse',
    (model) => (graphOf(model).initializer[0]!.name = 'blk.01.mlp.a'),
    'the name blk.01.mlp.a',
  ],
  [
    'a path for a name',
    (model) => (graphOf(model).initializer[0]!.name = '../../etc/passwd\u0000'),
    'the name ../../etc/passwd ',
  ],
  ['a layer the model lacks', (model) => rename(model, 'blk.1.', 'blk.3.'), 'the model has 3 layers'],
  ['an output of another name', (model) => (graphOf(model).output[0]!.name = 'y'), 'the name y'],
  ['an input of another name', (model) => (graphOf(model).input[0]!.name = 'x'), 'the name x'],
  [
    'an input too many',
    (model) => graphOf(model).input.push({ ...graphOf(model).input[0]!, name: 'blk.0.mlp.in' }),
    'blk.0.mlp.in, which leads to no score',
  ],
  ['an input twice', (model) => graphOf(model).input.push(graphOf(model).input[0]!), 'blk.1.mlp.in twice'],
  ['no input', (model) => graphOf(model).input.shift(), 'lacks the input blk.1.mlp.in'],
  ['a sigmoid at the end', sigmoid, 'in another way than MatMul, Relu, MatMul, Add'],
  [
    'a loop of nodes',
    (model) => (graphOf(model).node[0]!.input[0] = 'blk.1.mlp.score'),
    'lacks the input blk.1.mlp.in',
  ],
  ['a node of another domain', (model) => (graphOf(model).node[0]!.domain = 'com.example'), 'in another way'],
  [
    'a node that leads nowhere',
    (model) =>
      graphOf(model).node.push(create(NodeProtoSchema, { opType: 'Relu', input: ['blk.1.mlp.in'], output: ['z'] })),
    'has z, which',
  ],
  [
    'attributes',
    (model) => graphOf(model).node[0]!.attribute.push(create(AttributeProtoSchema, { name: 'x' })),
    'nodes with attributes',
  ],
  ['values outside raw_data', (model) => (graphOf(model).initializer[0]!.floatData = [1, 2]), 'as float_data'],
  ['functions', (model) => model.functions.push(create(FunctionProtoSchema, { name: 'f' })), 'functions of its own'],
  ['an old opset', (model) => (model.opsetImport[0]!.version = 11n), 'opset 11'],
  ['no opset', (model) => (model.opsetImport = []), 'opset 0'],
  ['no graph', (model) => (model.graph = undefined), 'no predictors'],
  ['no outputs', (model) => (graphOf(model).output = []), 'no predictors'],
  [
    'a rank that the metadata denies',
    (model) => (model.metadataProps.find(({ key }) => key === 'blk.1.mlp.rank')!.value = '6'),
    'contradicts itself',
  ],
  [
    'a Relu that the metadata denies',
    (model) => (model.metadataProps.find(({ key }) => key === 'blk.1.mlp.relu')!.value = 'false'),
    'contradicts itself',
  ],
  ['an unknown source', (model) => (model.metadataProps[0]!.value = 'next'), 'must be previous, attention or same'],
  ['metadata twice', (model) => model.metadataProps.push(model.metadataProps[0]!), 'twice'],
  ['a float64 input', (model) => inputType(model, 11), 'another type than float32'],
  [
    'a name of a megabyte',
    (model) => (graphOf(model).node[0]!.name = 'n'.repeat(17 << 20)),
    'more than 16 MB besides its weights',
  ],
  ['100,000 dims', (model) => (graphOf(model).initializer[0]!.dims = Array<bigint>(1e5).fill(1n)), 'has the shape'],
  [
    'a million dims',
    (model) => (graphOf(model).initializer[0]!.dims = Array<bigint>(1e6).fill(1n)),
    'more than 500000 fields',
  ],
  [
    '600,000 empty nodes',
    (model) => (graphOf(model).node = Array.from({ length: 600_000 }, () => create(NodeProtoSchema))),
    'more than 500000 fields',
  ],
];

function external(model: ModelProto, location: number): void {
  const first = graphOf(model).initializer[0]!;
  first.dataLocation = location;
  first.externalData = [{ $typeName: 'onnx.StringStringEntryProto', key: 'location', value: '/etc/passwd' }];
}
function value(model: ModelProto, number: number): void {
  new DataView(
    graphOf(model).initializer[1]!.rawData.buffer,
    graphOf(model).initializer[1]!.rawData.byteOffset,
  ).setFloat32(8, number, true);
}
function half(model: ModelProto): void {
  const first = graphOf(model).initializer[0]!;
  first.dataType = TensorProto_DataType.FLOAT16;
  first.rawData = new Uint8Array(new Uint16Array(40).fill(0x7c00).buffer);
}
function rename(model: ModelProto, from: string, to: string): void {
  const { node, initializer: tensors, input, output } = graphOf(model);
  for (const item of [...tensors, ...input, ...output]) item.name = item.name.replace(from, to);
  for (const item of node) {
    item.input = item.input.map((name) => name.replace(from, to));
    item.output = item.output.map((name) => name.replace(from, to));
  }
}
function sigmoid(model: ModelProto): void {
  const add = graphOf(model).node.find(({ opType }) => opType === 'Add')!;
  add.output = ['sum'];
  graphOf(model).node.push(create(NodeProtoSchema, { opType: 'Sigmoid', input: ['sum'], output: ['blk.1.mlp.score'] }));
}
function inputType(model: ModelProto, elemType: number): void {
  const type = graphOf(model).input[0]!.type!.value;
  if (type.case === 'tensorType') type.value.elemType = elemType;
}

/** A field of bytes: a message, a text or a packed list. */
const wrap = (tag: number, inner: Uint8Array): Uint8Array => {
  const size: number[] = [];
  for (let left = inner.length; ; left >>>= 7) {
    size.push(left > 127 ? (left & 127) | 128 : left);
    if (left <= 127) break;
  }
  return Buffer.concat([Buffer.from([tag, ...size]), inner]);
};

describe('a hostile predictors.onnx', () => {
  it.each(hostile)('with %s is refused', async (_what, change, said) => {
    const { code, message } = await refusal(() =>
      decodePredictors(
        changedOnnx((model) => void change(model)),
        shape,
        infoOf(samplePredictors()),
      ),
    );
    expect(message).toContain(said);
    expect(code).toBe('pack-invalid');
    expect(message).toContain('Calibrate the model again');
  });

  it('with sizes of another model is refused', async () => {
    const bytes = encodePredictors(samplePredictors(), shape);
    for (const other of [{ width: 9 }, { neurons: 21 }, { heads: 5 }, { layers: 2 }]) {
      expect((await refusal(() => decodePredictors(bytes, { ...shape, ...other }))).message).toContain(
        'does not fit the model',
      );
    }
  });

  it('with a rank above the width is refused', async () => {
    const bytes = changedOnnx((model) => {
      Object.assign(initializer(model, 'blk.2.mlp.a'), tensor('', [8, 9], new Float32Array(72)), {
        name: 'blk.2.mlp.a',
      });
      Object.assign(initializer(model, 'blk.2.mlp.b'), tensor('', [9, 20], new Float32Array(180)), {
        name: 'blk.2.mlp.b',
      });
    });
    expect((await refusal(() => decodePredictors(bytes, shape))).message).toContain('exceeds the width');
  });

  it('that is cut off anywhere is refused', async () => {
    const bytes = encodePredictors(samplePredictors(), shape);
    for (let length = 0; length < bytes.length; length += 7) {
      expect((await refusal(() => decodePredictors(bytes.subarray(0, length), shape))).code).toBe('pack-invalid');
    }
  });

  it.each([
    ['text', Buffer.from('not a model at all')],
    ['zeros', Buffer.alloc(64)],
    ['the ORT format', Buffer.from('\u0018\u0000\u0000\u0000ORTM\u0000\u0000\u0000\u0000')],
    ['an endless number', Buffer.alloc(64, 0xff)],
    ['a field that ONNX lacks', Buffer.from([0xfa, 0x01, 0x00])],
    ['a group', Buffer.from([0x3b, 0x3c])],
    ['a graph that is longer than the file', Buffer.from([0x3a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
    ['a number where a graph belongs', Buffer.from([0x38, 0x01])],
  ])('that is %s is refused', async (_what, bytes) => {
    expect((await refusal(() => decodePredictors(bytes, shape))).code).toBe('pack-invalid');
  });

  it('above 512 MB is refused before it is read', async () => {
    const bytes = new Uint8Array(512 * 2 ** 20 + 1); // zeros: never touched, so no memory is taken
    expect((await refusal(() => decodePredictors(bytes, shape))).message).toContain('larger than 512 MB');
  });

  it('with a packed list of a million dims is refused', async () => {
    const bytes = wrap(0x3a, wrap(0x2a, wrap(0x0a, new Uint8Array(1e6))));
    expect((await refusal(() => decodePredictors(bytes, shape))).message).toContain('endless list');
  });

  it('that is nested endlessly is refused', async () => {
    let type: Uint8Array = new Uint8Array(); // TypeProto { sequence_type { elem_type { … } } }
    for (let depth = 0; depth < 2000; depth++) type = wrap(0x22, wrap(0x0a, type));
    const bytes = wrap(0x3a, wrap(0x5a, wrap(0x12, type)));
    expect((await refusal(() => decodePredictors(bytes, shape))).message).toContain('nested more than 32 deep');
  });

  it('never brings down the reader, whatever bytes it has', () => {
    const good = encodePredictors(samplePredictors(), shape);
    const random = seededRandom(7);
    for (let round = 0; round < 1500; round++) {
      const bytes = good.slice();
      for (let flips = 1 + Math.floor(random() * 4); flips > 0; flips--) {
        const at = Math.floor(random() * bytes.length);
        bytes[at] = bytes[at]! ^ (1 << Math.floor(random() * 8));
      }
      try {
        const { mlp, heads } = decodePredictors(bytes, shape);
        for (const predictor of [...mlp, ...heads]) {
          if (predictor)
            expect([...predictor.a, ...predictor.b, ...(predictor.bias ?? [])].every(Number.isFinite)).toBe(true);
        }
      } catch (error) {
        expect((error as { code: string }).code).toBe('pack-invalid');
      }
    }
  });

  it('of the size of a 7B model comes back too', () => {
    const random = seededRandom(9);
    const big = { layers: 2, width: 4096, neurons: 11008, heads: 32 };
    const predictor = { source: 'previous' as const, rank: 64, relu: false, bias: null };
    const mlp = [null, { ...predictor, a: floats(64 * 4096, random), b: floats(11008 * 64, random) }];
    const back = decodePredictors(encodePredictors({ mlp, heads: [null, null] }, big), big);
    expect(Buffer.compare(Buffer.from(back.mlp[1]!.b.buffer), Buffer.from(mlp[1]!.b.buffer))).toBe(0);
  });
});
