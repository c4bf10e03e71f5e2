import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import {
  ModelProtoSchema,
  NodeProtoSchema,
  TensorProto_DataType,
  ValueInfoProtoSchema,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type ValueInfoProto,
} from 'onnx-buf';
import type { LowRankPredictor, Predictors } from '../engine/addon';
import { allFinite } from '../floats';
import { byName, Chains, predictorsFile, refuse } from './onnxChains';
import { nameOf, parseName, predictorKinds, type PredictorKind } from './names';
import { guardOnnx } from './onnxGuard';
import { readDims, readValues, transpose, writeTensor } from './onnxTensor';
import type { PackModel, PackPredictors } from './pack';
import { packInvalid, quote } from './packError';

/*
 * One graph; per predictor, with W = width, R = rank, N = rows (neurons or heads):
 *
 *   blk.L.mlp.in [batch, W] → MatMul(blk.L.mlp.a [W, R]) → Relu? → MatMul(blk.L.mlp.b [R, N]) → Add(blk.L.mlp.bias [N])? → blk.L.mlp.score [batch, N]
 *
 * MatMul takes its matrix as [in, out], the engine as [out][in]: `a` and `b` are stored transposed, which also is how PyTorch exports `x @ a`.
 * metadata_props says the rest: blk.L.mlp.source, .relu, .rank.
 */

const opset = 17;
const irVersion = 8; // the one that came with opset 17

export type PredictorShape = Pick<PackModel, 'layers' | 'width' | 'neurons' | 'heads'>;
const rowsOf = (shape: PredictorShape, kind: PredictorKind): number => (kind === 'mlp' ? shape.neurons : shape.heads);

/** Predictors.onnx of a model. Errors: pack-invalid (shapes that do not fit the model, values that are no numbers). */
export function encodePredictors(predictors: Predictors, shape: PredictorShape): Uint8Array<ArrayBuffer> {
  const nodes: NodeProto[] = [];
  const initializers: TensorProto[] = [];
  const inputs: ValueInfoProto[] = [];
  const outputs: ValueInfoProto[] = [];
  const metadata: { key: string; value: string }[] = [];

  const add = (kind: PredictorKind, layer: number, predictor: LowRankPredictor): void => {
    const rows = rowsOf(shape, kind);
    const { rank, a, b, bias, relu, source } = predictor;
    checkShape(predictor, shape.width, rows, nameOf(layer, kind, 'a'));
    const name = (part: string): string => nameOf(layer, kind, part);
    const apply = (opType: string, input: string[], output: string): void => {
      nodes.push(create(NodeProtoSchema, { opType, name: output, input, output: [output] }));
    };
    inputs.push(valueInfo(name('in'), shape.width));
    initializers.push(writeTensor(name('a'), [shape.width, rank], transpose(a, rank, shape.width)));
    initializers.push(writeTensor(name('b'), [rank, rows], transpose(b, rows, rank)));
    if (bias) initializers.push(writeTensor(name('bias'), [rows], bias));
    apply('MatMul', [name('in'), name('a')], name('low'));
    if (relu) apply('Relu', [name('low')], name('relu'));
    apply('MatMul', [name(relu ? 'relu' : 'low'), name('b')], name(bias ? 'product' : 'score'));
    if (bias) apply('Add', [name('product'), name('bias')], name('score'));
    outputs.push(valueInfo(name('score'), rows));
    metadata.push({ key: name('source'), value: source }, { key: name('relu'), value: String(relu) });
    metadata.push({ key: name('rank'), value: String(rank) });
  };
  for (const kind of predictorKinds) {
    if (predictors[kind].length !== shape.layers) {
      throw packInvalid(`${predictors[kind].length} predictors (${kind}) were given for ${shape.layers} layers`);
    }
    predictors[kind].forEach((predictor, layer) => predictor && add(kind, layer, predictor));
  }
  const model = create(ModelProtoSchema, {
    irVersion: BigInt(irVersion),
    opsetImport: [{ domain: '', version: BigInt(opset) }],
    producerName: 'hunch',
    graph: { name: 'predictors', node: nodes, initializer: initializers, input: inputs, output: outputs },
    metadataProps: metadata,
  });
  return toBinary(ModelProtoSchema, model);
}

function valueInfo(name: string, columns: number): ValueInfoProto {
  return create(ValueInfoProtoSchema, {
    name,
    type: {
      value: {
        case: 'tensorType',
        value: {
          elemType: TensorProto_DataType.FLOAT,
          shape: {
            dim: [
              { value: { case: 'dimParam', value: 'batch' } },
              { value: { case: 'dimValue', value: BigInt(columns) } },
            ],
          },
        },
      },
    },
  });
}

function checkShape({ rank, a, b, bias }: LowRankPredictor, width: number, rows: number, name: string): void {
  const fits =
    rank >= 1 &&
    rank <= width &&
    a.length === rank * width &&
    b.length === rows * rank &&
    (bias?.length ?? rows) === rows;
  if (!fits)
    throw packInvalid(`the predictor of ${name} is not of rank 1 to ${width}, from ${width} values to ${rows}`);
  if (![a, b, ...(bias ? [bias] : [])].every(allFinite)) {
    throw packInvalid(`the predictor of ${name} holds a value that is no finite number`);
  }
}

/**
 * Reads a predictors.onnx of low-rank predictors; `declared` (of pack.json) says what its metadata leaves out.
 * The graph must be exactly the one above: what the engine computes is then what any ONNX runtime computes.
 * Errors: pack-invalid.
 */
export function decodePredictors(bytes: Uint8Array, shape: PredictorShape, declared?: PackPredictors): Predictors {
  guardOnnx(bytes, 'weights', predictorsFile);
  let model: ModelProto;
  try {
    model = fromBinary(ModelProtoSchema, bytes, { readUnknownFields: false });
  } catch (error) {
    throw refuse(`is damaged (${(error as Error).message})`, error);
  }
  const { graph } = model;
  if (!graph || graph.output.length === 0) throw refuse('holds no predictors');
  const version = model.opsetImport.find(({ domain }) => domain === '' || domain === 'ai.onnx')?.version ?? 0n;
  if (version < BigInt(opset)) throw refuse(`is of opset ${version}; ${opset} or newer is needed`);

  const tensors = byName(graph.initializer, ({ name }) => name, 'initialiser');
  const metadata = byName(model.metadataProps, ({ key }) => key, 'metadata key');
  const inputs = byName(
    graph.input.filter(({ name }) => !tensors.has(name)), // old exporters list initialisers among the inputs
    ({ name }) => name,
    'input',
  );
  const outputs = byName(graph.output, ({ name }) => name, 'output');
  for (const { name } of graph.initializer) partOf(name, ['a', 'b', 'bias'], shape.layers);
  for (const name of inputs.keys()) partOf(name, ['in'], shape.layers);

  const chains = new Chains(graph, (name) => tensors.has(name));
  const weights = new Weights(tensors);
  const predictors: Predictors = { mlp: Array(shape.layers).fill(null), heads: Array(shape.layers).fill(null) };
  for (const [output, info] of outputs) {
    const { layer, kind } = partOf(output, ['score'], shape.layers);
    const rows = rowsOf(shape, kind);
    const chain = chains.follow(output);
    const input = inputs.get(chain.input);
    if (!input || chain.input !== nameOf(layer, kind, 'in')) {
      throw refuse(`lacks the input ${nameOf(layer, kind, 'in')} for ${output}`);
    }
    inputs.delete(chain.input);
    checkValue(input, shape.width);
    checkValue(info, rows);
    const rank = weights.columns(chain.a);
    if (rank > shape.width) throw refuse(`does not fit the model: the rank of ${output}, ${rank}, exceeds the width`);
    const said = (part: string): string | undefined => metadata.get(nameOf(layer, kind, part))?.value;
    const { relu } = chain;
    if ((said('rank') ?? String(rank)) !== String(rank) || (said('relu') ?? String(relu)) !== String(relu)) {
      throw refuse(`contradicts itself: the metadata of ${output} is not what the graph computes`);
    }
    predictors[kind][layer] = {
      source: readSource(said('source') ?? declared?.[kind][layer]?.source, nameOf(layer, kind, 'source')),
      rank,
      relu,
      a: weights.read(chain.a, [shape.width, rank]),
      b: weights.read(chain.b, [rank, rows]),
      bias: chain.bias === null ? null : weights.read(chain.bias, [rows]),
    };
  }
  const unused = [...weights.unused(), ...inputs.keys(), ...chains.unused()][0];
  if (unused !== undefined) throw refuse(`has ${quote(unused)}, which leads to no score`);
  return predictors;
}

/** The initialisers as the engine wants them. Exporters store equal ones once, so a tensor may serve several predictors. */
class Weights {
  private readonly done = new Map<string, Float32Array>();
  private readonly used = new Set<string>();

  constructor(private readonly tensors: Map<string, TensorProto>) {}

  columns(name: string): number {
    return readDims(this.tensors.get(name)!, predictorsFile)[1] ?? 0;
  }

  /** [in, out] → [out][in]; vectors as they are. */
  read(name: string, wanted: [number, number?]): Float32Array {
    const tensor = this.tensors.get(name)!;
    const dims = readDims(tensor, predictorsFile);
    const [rows, columns] = wanted;
    if (dims.length !== wanted.length || dims[0] !== rows || dims[1] !== columns) {
      throw refuse(`does not fit the model: ${name} is [${dims.join(', ')}], not [${wanted.join(', ')}]`);
    }
    this.used.add(name);
    let values = this.done.get(name);
    if (!values) {
      const stored = readValues(tensor, predictorsFile);
      values = columns === undefined ? stored : transpose(stored, rows, columns);
      this.done.set(name, values);
    }
    return values;
  }

  unused(): string[] {
    return [...this.tensors.keys()].filter((name) => !this.used.has(name));
  }
}

function partOf(name: string, parts: string[], layers: number): { layer: number; kind: PredictorKind } {
  const parsed = parseName(name);
  if (!parsed || !parts.includes(parsed.part)) {
    throw refuse(`has the name ${quote(name)} where one like ${nameOf(0, 'mlp', parts[0]!)} belongs`);
  }
  if (parsed.layer >= layers)
    throw refuse(`does not fit the model: ${quote(name)}, but the model has ${layers} layers`);
  return parsed;
}

/** An input or output: float32, and as wide as the model where it says so. */
function checkValue({ name, type }: ValueInfoProto, columns: number): void {
  const tensor = type?.value.case === 'tensorType' ? type.value.value : null;
  if (tensor?.elemType !== TensorProto_DataType.FLOAT) throw refuse(`has ${quote(name)} of another type than float32`);
  const dims = tensor.shape?.dim;
  const last = dims?.[dims.length - 1]?.value;
  if ((dims && dims.length !== 2) || (last?.case === 'dimValue' && last.value !== BigInt(columns))) {
    throw refuse(`does not fit the model: ${quote(name)} is not [batch, ${columns}]`);
  }
}

function readSource(text: string | undefined, key: string): LowRankPredictor['source'] {
  if (text === 'previous' || text === 'attention' || text === 'same') return text;
  throw refuse(`does not say what its predictor reads: the metadata ${key} must be previous, attention or same`);
}
