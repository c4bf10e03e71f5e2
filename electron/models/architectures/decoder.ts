import { HunchError } from '../../contract/errors';
import type { ModelSpec } from '../../engine/addon';
import type { Metadata } from '../metadata';
import type { Dimensions, ExpectedTensor } from './index';

/** What every supported decoder's keys say in the same way. */
export type Sizes = Pick<
  ModelSpec,
  'layers' | 'width' | 'ffnWidth' | 'heads' | 'kvHeads' | 'headWidth' | 'vocabulary' | 'trainedContext'
>;

/** A variant that shares the architecture's name but computes something else: running it would be silently wrong. */
export function unsupportedVariant(metadata: Metadata, architecture: string, what: string): HunchError {
  return new HunchError(
    'model-unsupported',
    `"${metadata.fileName}" is a model of the architecture ${architecture} with ${what}, which this version of Hunch cannot run. Choose a model without it.`,
  );
}

/** Errors: model-invalid, model-unsupported (a mixture of experts). */
export function readSizes(metadata: Metadata, architecture: string, vocabulary: number): Sizes {
  const key = (name: string): string => `${architecture}.${name}`;
  const experts = metadata.integer(key('expert_count'), 0, 1 << 20, 0);
  if (experts > 0) throw unsupportedVariant(metadata, architecture, `a mixture of ${experts} experts`);
  const width = metadata.integer(key('embedding_length'), 1, 1 << 20);
  const heads = metadata.integer(key('attention.head_count'), 1, 4096);
  const kvHeads = metadata.integer(key('attention.head_count_kv'), 1, heads, heads);
  if (heads % kvHeads !== 0) {
    throw metadata.invalid(key('attention.head_count_kv'), `a divisor of the ${heads} attention heads`);
  }
  if (!metadata.has(key('attention.key_length')) && width % heads !== 0) {
    throw metadata.invalid(key('attention.head_count'), `a divisor of the width ${width}`);
  }
  const headWidth = metadata.integer(key('attention.key_length'), 1, 1024, width / heads);
  if (metadata.integer(key('attention.value_length'), 1, 1024, headWidth) !== headWidth) {
    throw metadata.invalid(key('attention.value_length'), `the key length ${headWidth}`);
  }
  return {
    layers: metadata.integer(key('block_count'), 1, 1024),
    width,
    ffnWidth: metadata.integer(key('feed_forward_length'), 1, 1 << 22),
    heads,
    kvHeads,
    headWidth,
    vocabulary,
    trainedContext: metadata.integer(key('context_length'), 1, 1 << 30),
  };
}

export function readNormEpsilon(metadata: Metadata, architecture: string): number {
  return metadata.number(`${architecture}.attention.layer_norm_rms_epsilon`, 1e-12, 1);
}

/** Rotated dimensions of a head. */
export function readRopeWidth(metadata: Metadata, architecture: string, headWidth: number): number {
  const key = `${architecture}.rope.dimension_count`;
  const ropeWidth = metadata.integer(key, 2, headWidth, headWidth);
  if (ropeWidth % 2 !== 0) throw metadata.invalid(key, 'an even number');
  return ropeWidth;
}

const activations = ['silu', 'gelu', 'relu', 'drelu'] as const satisfies readonly ModelSpec['activation'][];

/** The architecture's usual activation, unless the file names another (our key; models made sparse by ReLU have it). */
export function readActivation(
  metadata: Metadata,
  architecture: string,
  usual: ModelSpec['activation'],
): ModelSpec['activation'] {
  const key = `${architecture}.feed_forward_activation`;
  const name = metadata.text(key) ?? usual;
  const known = activations.find((activation) => activation === name);
  if (!known) throw metadata.invalid(key, `one of ${activations.join(', ')}`);
  return known;
}

/** Shapes that a layer's biases and norms are written with. */
export interface LayerParts {
  vector(part: string, length: number, optional?: boolean): ExpectedTensor; // 'attn_q.bias'
  queryWidth: number;
  keyWidth: number;
}

export interface DecoderParts {
  gated: boolean;
  layer?(parts: LayerParts): ExpectedTensor[];
  model?: ExpectedTensor[];
}

/** The tensors that every decoder has under the same names, and what the architecture adds. */
export function decoderTensors(dimensions: Dimensions, more: DecoderParts): ExpectedTensor[] {
  const { layers, width, ffnWidth, heads, kvHeads, headWidth, vocabulary } = dimensions;
  const queryWidth = heads * headWidth;
  const keyWidth = kvHeads * headWidth;
  const perLayer = (layer: number): ExpectedTensor[] => {
    const name = (part: string): string => `blk.${layer}.${part}`;
    const vector = (part: string, length: number, optional = false): ExpectedTensor => ({
      name: name(part),
      shape: [length],
      optional,
    });
    return [
      vector('attn_norm.weight', width),
      { name: name('attn_q.weight'), shape: [width, queryWidth] },
      { name: name('attn_k.weight'), shape: [width, keyWidth] },
      { name: name('attn_v.weight'), shape: [width, keyWidth] },
      { name: name('attn_output.weight'), shape: [queryWidth, width] },
      vector('ffn_norm.weight', width),
      ...(more.gated ? [{ name: name('ffn_gate.weight'), shape: [width, ffnWidth] }] : []),
      { name: name('ffn_up.weight'), shape: [width, ffnWidth] },
      {
        name: name('ffn_down.weight'),
        shape: [ffnWidth, width],
        alternative: { name: name('ffn_down_t.weight'), shape: [width, ffnWidth] }, // neuron-major, for sparsity
      },
      ...(more.layer?.({ vector, queryWidth, keyWidth }) ?? []),
    ];
  };
  return [
    { name: 'token_embd.weight', shape: [width, vocabulary] },
    { name: 'output_norm.weight', shape: [width] },
    { name: 'output.weight', shape: [width, vocabulary], optional: true }, // absent = tied to the embedding
    ...(more.model ?? []),
    ...Array.from({ length: layers }, (_, layer) => perLayer(layer)).flat(),
  ];
}
