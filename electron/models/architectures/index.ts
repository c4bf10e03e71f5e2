import type { ModelSpec } from '../../engine/addon';
import type { Metadata } from '../metadata';
import { gemma3 } from './gemma3';
import { bamboo, llama } from './llama';
import { opt } from './opt';
import { qwen2 } from './qwen2';
import { qwen3 } from './qwen3';

/** What the header's keys say; the rest of a ModelSpec comes from the tensor table. */
export type Dimensions = Omit<ModelSpec, 'path' | 'architecture' | 'tensors'>;

export interface ExpectedTensor {
  name: string;
  /** ggml order: [0] is contiguous. */
  shape: number[];
  optional?: boolean;
  /** The same weights in another layout; exactly one of the two must be there. */
  alternative?: { name: string; shape: number[] };
}

export interface Architecture {
  /** Reads and checks the keys. `vocabulary` is the tokenizer's. Errors: model-invalid, model-unsupported. */
  dimensions(metadata: Metadata, vocabulary: number): Dimensions;
  /** Every tensor that the engine's forward pass of this architecture reads; a file with others is refused. */
  tensors(dimensions: Dimensions): ExpectedTensor[];
}

/** By `general.architecture`. A new one is its file and its line. */
export const architectures: Readonly<Record<string, Architecture>> = {
  llama,
  bamboo,
  qwen2,
  qwen3,
  gemma3,
  opt,
};
