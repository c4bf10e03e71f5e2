import { GGMLQuantizationType } from '@huggingface/gguf';
import type { TensorType } from '../engine/addon';

export interface TensorLayout {
  type: TensorType;
  /** Values in a block; a row is a whole number of blocks. */
  blockValues: number;
  blockBytes: number;
}

/** By ggml's type number: what the engine's kernels read. A new type is one line here and its kernels in native/. */
const layouts = new Map<number, TensorLayout>([
  [0, { type: 'F32', blockValues: 1, blockBytes: 4 }],
  [1, { type: 'F16', blockValues: 1, blockBytes: 2 }],
  [30, { type: 'BF16', blockValues: 1, blockBytes: 2 }],
  [8, { type: 'Q8_0', blockValues: 32, blockBytes: 34 }],
  [2, { type: 'Q4_0', blockValues: 32, blockBytes: 18 }],
  [3, { type: 'Q4_1', blockValues: 32, blockBytes: 20 }],
  [6, { type: 'Q5_0', blockValues: 32, blockBytes: 22 }],
  [7, { type: 'Q5_1', blockValues: 32, blockBytes: 24 }],
  [12, { type: 'Q4_K', blockValues: 256, blockBytes: 144 }],
  [13, { type: 'Q5_K', blockValues: 256, blockBytes: 176 }],
  [14, { type: 'Q6_K', blockValues: 256, blockBytes: 210 }],
  [20, { type: 'IQ4_NL', blockValues: 32, blockBytes: 18 }],
]);

export function tensorLayout(ggmlType: number): TensorLayout | undefined {
  return layouts.get(ggmlType);
}

export function layoutOf(type: TensorType): TensorLayout {
  return [...layouts.values()].find((layout) => layout.type === type) as TensorLayout;
}

export function tensorTypeName(ggmlType: number): string {
  return GGMLQuantizationType[ggmlType] ?? `type number ${ggmlType}`;
}

export const supportedTensorTypes: string = [...layouts.values()].map((layout) => layout.type).join(', ');
