import type { TensorType } from '../../engine/addon';
import { architectures } from '../architectures/index';
import { Metadata } from '../metadata';
import type { GgufKeys, GgufTensor, GgufValue } from './ggufWriter';

/** Said wherever a figure of such a model is shown. */
export const syntheticLabel = 'synthetic weights: speed only';

/** The sizes of a real model, under the names of its GGUF keys. */
export interface Shape {
  name: string;
  architecture: string;
  keys: GgufKeys;
  vocabulary: number;
  /** Whether the output head is the embedding. */
  tied: boolean;
  /** Down projections are stored by neuron, as ReLU models made for Hunch have them; llama.cpp does not load that. */
  byNeuron?: boolean;
}

interface Sizes {
  layers: number;
  width: number;
  ffn: number;
  heads: number;
  kvHeads: number;
  context: number;
}

function sizes(architecture: string, { layers, width, ffn, heads, kvHeads, context }: Sizes): GgufKeys {
  return prefixed(architecture, {
    block_count: layers,
    context_length: context,
    embedding_length: width,
    feed_forward_length: ffn,
    'attention.head_count': heads,
    'attention.head_count_kv': kvHeads,
  });
}

function prefixed(architecture: string, keys: Record<string, GgufValue>): GgufKeys {
  return Object.fromEntries(Object.entries(keys).map(([key, value]) => [`${architecture}.${key}`, value]));
}

/** Gated, with RMSNorm and rotary positions. */
function rotary(
  architecture: string,
  own: Sizes,
  { epsilon, base, headWidth }: { epsilon: number; base: number; headWidth: number },
): GgufKeys {
  return {
    ...sizes(architecture, own),
    ...prefixed(architecture, {
      'attention.key_length': headWidth,
      'attention.value_length': headWidth,
      'attention.layer_norm_rms_epsilon': { f32: epsilon },
      'rope.freq_base': { f32: base },
      'rope.dimension_count': headWidth,
    }),
  };
}

const llama2Sizes: Sizes = { layers: 32, width: 4096, ffn: 11_008, heads: 32, kvHeads: 32, context: 4096 };
const starterSizes: Sizes = { layers: 30, width: 3584, ffn: 9472, heads: 56, kvHeads: 14, context: 8192 };
const optSizes: Sizes = { layers: 32, width: 4096, ffn: 16_384, heads: 32, kvHeads: 32, context: 2048 };

/** From the models' published configurations. Llama 3.2's long-context factors are left out: they cost no time. */
export const shapes: readonly Shape[] = [
  {
    name: 'llama-3.2-1b',
    architecture: 'llama',
    keys: rotary(
      'llama',
      { layers: 16, width: 2048, ffn: 8192, heads: 32, kvHeads: 8, context: 131_072 },
      { epsilon: 1e-5, base: 500_000, headWidth: 64 },
    ),
    vocabulary: 128_256,
    tied: true,
  },
  {
    name: 'llama-2-7b',
    architecture: 'llama',
    keys: rotary('llama', llama2Sizes, { epsilon: 1e-5, base: 10_000, headWidth: 128 }),
    vocabulary: 32_000,
    tied: false,
  },
  {
    // ProSparse-LLaMA-2-7B (Song 2024); llama.cpp, which does not know the key, runs it as llama-2-7b.
    name: 'prosparse-llama-2-7b',
    architecture: 'llama',
    keys: {
      ...rotary('llama', llama2Sizes, { epsilon: 1e-5, base: 10_000, headWidth: 128 }),
      'llama.feed_forward_activation': 'relu',
    },
    vocabulary: 32_000,
    tied: false,
  },
  {
    // The ReLU starter (SmolLM2-135M's sizes) about six times as wide: 4.2 billion weights.
    name: 'relu-starter-4b',
    architecture: 'llama',
    keys: {
      ...rotary('llama', starterSizes, { epsilon: 1e-5, base: 100_000, headWidth: 64 }),
      'llama.feed_forward_activation': 'relu',
    },
    vocabulary: 49_152,
    tied: true,
    byNeuron: true,
  },
  {
    name: 'qwen3-8b',
    architecture: 'qwen3',
    keys: rotary(
      'qwen3',
      { layers: 36, width: 4096, ffn: 12_288, heads: 32, kvHeads: 8, context: 40_960 },
      { epsilon: 1e-6, base: 1_000_000, headWidth: 128 },
    ),
    vocabulary: 151_936,
    tied: false,
  },
  {
    name: 'opt-6.7b',
    architecture: 'opt',
    keys: { ...sizes('opt', optSizes), ...prefixed('opt', { 'attention.layer_norm_epsilon': { f32: 1e-5 } }) },
    vocabulary: 50_272,
    tied: true,
  },
];

/**
 * What stands in for a shape in llama.cpp, which has no opt: gpt2 of the same sizes multiplies the same matrices (q, k and
 * v in one) and has learned positions, biases and LayerNorm too; its activation is gelu.
 */
const peerShapes: readonly Shape[] = [
  {
    name: 'opt-6.7b',
    architecture: 'gpt2',
    keys: { ...sizes('gpt2', optSizes), ...prefixed('gpt2', { 'attention.layer_norm_epsilon': { f32: 1e-5 } }) },
    vocabulary: 50_272,
    tied: true,
  },
];

/** The shape that llama.cpp can load in place of this one; most often the shape itself. */
export function peerShape(shape: Shape): Shape {
  return peerShapes.find(({ name }) => name === shape.name) ?? { ...shape, byNeuron: false };
}

/** Every matrix of the layers, the embedding and the head in one type; vectors in F32, tables of positions in F16. */
export function shapeTensors(shape: Shape, type: TensorType): GgufTensor[] {
  const listed = shape.architecture === 'gpt2' ? gpt2Tensors(shape) : ownTensors(shape);
  return listed.map(({ name, shape: extents }) => ({
    name,
    shape: extents,
    type: extents.length < 2 ? 'F32' : name === 'position_embd.weight' ? 'F16' : type,
  }));
}

interface Listed {
  name: string;
  shape: number[];
}

function ownTensors({ name, architecture, keys, vocabulary, tied, byNeuron }: Shape): Listed[] {
  const known = architectures[architecture];
  if (!known) throw new Error(`no architecture ${architecture}`);
  const plain = Object.entries(keys).map(([key, value]) => [
    key,
    typeof value === 'object' && 'f32' in value ? value.f32 : value,
  ]);
  const dimensions = known.dimensions(new Metadata(name, Object.fromEntries(plain)), vocabulary);
  return known
    .tensors(dimensions)
    .filter((tensor) => (tensor.name === 'output.weight' ? !tied : !tensor.optional))
    .map((tensor) => (byNeuron && tensor.alternative) || tensor)
    .map((tensor) => ({ name: tensor.name, shape: tensor.shape }));
}

function gpt2Tensors({ vocabulary }: Shape): Listed[] {
  const { layers, width, ffn, context } = optSizes;
  const linear = (name: string, columns: number, rows: number): Listed[] => [
    { name: `${name}.weight`, shape: [columns, rows] },
    { name: `${name}.bias`, shape: [rows] },
  ];
  const norm = (name: string): Listed[] => [
    { name: `${name}.weight`, shape: [width] },
    { name: `${name}.bias`, shape: [width] },
  ];
  return [
    { name: 'token_embd.weight', shape: [width, vocabulary] },
    { name: 'position_embd.weight', shape: [width, context] },
    ...norm('output_norm'),
    ...Array.from({ length: layers }, (_, layer) => [
      ...norm(`blk.${layer}.attn_norm`),
      ...linear(`blk.${layer}.attn_qkv`, width, 3 * width),
      ...linear(`blk.${layer}.attn_output`, width, width),
      ...norm(`blk.${layer}.ffn_norm`),
      ...linear(`blk.${layer}.ffn_up`, width, ffn),
      ...linear(`blk.${layer}.ffn_down`, ffn, width),
    ]).flat(),
  ];
}
