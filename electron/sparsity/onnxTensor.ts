import { create } from '@bufbuild/protobuf';
import { TensorProto_DataType, TensorProtoSchema, type TensorProto } from 'onnx-buf';
import { allFinite, fromHalf } from '../floats';
import { exportAgain, packInvalid, quote } from './packError';

/** Row-major [rows][columns] → [columns][rows]. */
export function transpose(from: Float32Array, rows: number, columns: number): Float32Array {
  const to = new Float32Array(from.length);
  const block = 32; // of columns, so that both sides stay in the cache
  for (let first = 0; first < columns; first += block) {
    const last = Math.min(columns, first + block);
    for (let row = 0; row < rows; row++) {
      for (let column = first; column < last; column++) to[column * rows + row] = from[row * columns + column]!;
    }
  }
  return to;
}

/** float32 in raw_data, which is little-endian as every platform of Hunch. */
export function writeTensor(name: string, dims: number[], values: Float32Array): TensorProto {
  return create(TensorProtoSchema, {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType.FLOAT,
    rawData: new Uint8Array(values.slice().buffer),
  });
}

/** The shape of a tensor, checked against its data. Errors: pack-invalid. */
export function readDims(tensor: TensorProto, fileName: string): number[] {
  const name = quote(tensor.name);
  const dims = tensor.dims.map(Number);
  if (dims.length > 2 || dims.some((dim) => !(dim >= 1 && dim <= 2 ** 31))) {
    throw packInvalid(`${fileName}: ${name} has the shape [${quote(dims.join(', '))}]`, exportAgain);
  }
  const width = { [TensorProto_DataType.FLOAT]: 4, [TensorProto_DataType.FLOAT16]: 2 }[tensor.dataType];
  if (width === undefined) {
    const type = TensorProto_DataType[tensor.dataType] ?? `type ${tensor.dataType}`;
    throw packInvalid(`${fileName}: ${name} is ${type}; predictors are float32 or float16`, exportAgain);
  }
  const wanted = dims.reduce((product, dim) => product * dim, 1) * width;
  if (tensor.rawData.length !== wanted) {
    throw packInvalid(
      `${fileName}: ${name} has ${tensor.rawData.length} bytes of data for a shape of ${wanted}`,
      exportAgain,
    );
  }
  return dims;
}

/** The values of a tensor that `readDims` accepted. Errors: pack-invalid (NaN, infinite). */
export function readValues(tensor: TensorProto, fileName: string): Float32Array {
  const bytes = new Uint8Array(tensor.rawData).buffer; // a copy: aligned, and free of the file's (Buffer.slice would be none)
  const values =
    tensor.dataType === TensorProto_DataType.FLOAT16
      ? Float32Array.from(new Uint16Array(bytes), fromHalf)
      : new Float32Array(bytes);
  if (!allFinite(values)) {
    throw packInvalid(`${fileName}: ${quote(tensor.name)} holds a value that is no finite number`, exportAgain);
  }
  return values;
}
