import { ScalarType, type DescField, type DescMessage } from '@bufbuild/protobuf';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import { ModelProtoSchema } from 'onnx-buf';
import { packLimits } from './pack';
import { exportAgain, packInvalid } from './packError';

/** What a predictors file stays far below, so that a few megabytes of it cannot unfold into gigabytes of objects. */
const limits = {
  fields: 500_000,
  depth: 32,
  structureBytes: 16 * 2 ** 20, // all but raw_data
  listBytes: 4096, // a packed list, of dims for example
};

/** Fields that no file may have: they make the reader open other files, read its own memory, or loop. */
const never: Record<string, string> = {
  'onnx.TensorProto.external_data': 'refers to data outside the file, which Hunch never opens',
  'onnx.AttributeProto.g': 'has branches or loops (a graph within a node)',
  'onnx.AttributeProto.graphs': 'has branches or loops (a graph within a node)',
  'onnx.ModelProto.training_info': 'holds training state',
};

/** What a file of low-rank predictors has no use for. */
const neverInWeights: Record<string, string> = {
  'onnx.ModelProto.functions': 'defines functions of its own',
  'onnx.GraphProto.sparse_initializer': 'holds sparse tensors',
  'onnx.NodeProto.attribute': 'has nodes with attributes, which MatMul, Relu and Add do not take',
  ...Object.fromEntries(
    ['segment', 'float_data', 'int32_data', 'string_data', 'int64_data', 'double_data', 'uint64_data'].map((name) => [
      `onnx.TensorProto.${name}`,
      `keeps values as ${name} instead of raw_data`,
    ]),
  ),
};

/**
 * Walks an ONNX file without building anything from it and refuses what must not reach a parser.
 * 'weights': what onnx.ts decodes, so sizes count too; 'graph': what onnxruntime is given.
 * Every message, tensor and attribute is seen, also nested ones. Errors: pack-invalid.
 */
export function guardOnnx(bytes: Uint8Array, use: 'weights' | 'graph', fileName: string): void {
  const refuse = (why: string): Error => packInvalid(`${fileName} ${why}`, exportAgain);
  if (bytes.length > packLimits.onnxBytes) throw refuse(`is larger than ${packLimits.onnxBytes >> 20} MB`);
  // onnxruntime would take these letters for its own format, which this walk does not know.
  if (Buffer.from(bytes.subarray(4, 8)).toString('latin1') === 'ORTM')
    throw refuse('is in the ORT format, not in ONNX');

  const reader = new BinaryReader(bytes);
  let fieldCount = 0;
  let rawBytes = 0;

  const walk = (message: DescMessage, end: number, depth: number): void => {
    if (depth > limits.depth) throw refuse(`is nested more than ${limits.depth} deep`);
    const fields = fieldsOf(message);
    while (reader.pos < end) {
      const [number, wire] = reader.tag();
      if (++fieldCount > limits.fields) throw refuse(`has more than ${limits.fields} fields`);
      const field = fields.get(number);
      if (!field)
        throw refuse(`is not an ONNX file, or has what ONNX 1.20 does not know (field ${number} of ${message.name})`);
      const id = `${message.typeName}.${field.name}`;
      const why = never[id] ?? (use === 'weights' ? neverInWeights[id] : undefined);
      if (why) throw refuse(why);
      const packed = field.fieldKind === 'list' && wire === WireType.LengthDelimited;
      if (wire !== wireTypeOf(field) && !packed) throw refuse(`is damaged (${id} is of another type)`);

      if (field.message) {
        const size = reader.uint32();
        const inner = reader.pos + size;
        if (inner > end) throw refuse('is cut off or damaged');
        walk(field.message, inner, depth + 1);
      } else if (id === 'onnx.TensorProto.data_location') {
        if (reader.uint32() !== 0) throw refuse(never['onnx.TensorProto.external_data']!);
      } else {
        const size = reader.skip(wire).length;
        if (id === 'onnx.TensorProto.raw_data') rawBytes += size;
        else if (packed && use === 'weights' && size > limits.listBytes) throw refuse(`has an endless list (${id})`);
      }
      if (reader.pos > end) throw refuse('is cut off or damaged');
    }
  };

  try {
    walk(ModelProtoSchema, bytes.length, 0);
  } catch (error) {
    if ((error as { code?: unknown }).code === 'pack-invalid') throw error;
    throw packInvalid(
      `${fileName} is not an ONNX file, or is damaged (${(error as Error).message})`,
      exportAgain,
      error,
    );
  }
  if (use === 'weights' && bytes.length - rawBytes > limits.structureBytes) {
    throw refuse(`holds more than ${limits.structureBytes >> 20} MB besides its weights`);
  }
}

const known = new Map<DescMessage, Map<number, DescField>>();
function fieldsOf(message: DescMessage): Map<number, DescField> {
  let fields = known.get(message);
  if (!fields) known.set(message, (fields = new Map(message.fields.map((field) => [field.number, field]))));
  return fields;
}

/** Of one value; lists of numbers may also come packed. ONNX has neither maps nor groups. */
function wireTypeOf(field: DescField): WireType {
  if (field.message) return WireType.LengthDelimited;
  switch (field.scalar) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return WireType.LengthDelimited;
    case ScalarType.FLOAT:
      return WireType.Bit32;
    case ScalarType.DOUBLE:
      return WireType.Bit64;
    default:
      return WireType.Varint; // whole numbers and enums
  }
}
