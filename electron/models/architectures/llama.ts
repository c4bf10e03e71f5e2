import { HunchError } from '../../contract/errors';
import type { ModelSpec } from '../../engine/addon';
import type { Metadata } from '../metadata';
import type { Architecture, Dimensions, ExpectedTensor } from './index';

const activations = ['silu', 'gelu', 'relu'] as const satisfies readonly ModelSpec['activation'][];

/** Variants that share the name `llama` but compute something else: running them as plain llama would be silently wrong. */
function refuseVariants(metadata: Metadata): void {
  const scaling = metadata.text('llama.rope.scaling.type') ?? 'none';
  const experts = metadata.integer('llama.expert_count', 0, 1 << 20, 0);
  const found =
    experts > 0
      ? `a mixture of ${experts} experts`
      : scaling !== 'none' && metadata.number('llama.rope.scaling.factor', 0, 1e6, 1) !== 1
        ? `rotary positions scaled by "${scaling}"`
        : null;
  if (found) {
    throw new HunchError(
      'model-unsupported',
      `"${metadata.fileName}" is a llama model with ${found}, which this version of Hunch cannot run. Choose a dense llama model without it.`,
    );
  }
}

/** Llama, Mistral, SmolLM and their ReLU variants: RMSNorm, RoPE, grouped-query attention, gated MLP. */
export const llama: Architecture = {
  dimensions(metadata: Metadata, vocabulary: number): Dimensions {
    refuseVariants(metadata);
    const width = metadata.integer('llama.embedding_length', 1, 1 << 20);
    const heads = metadata.integer('llama.attention.head_count', 1, 4096);
    const kvHeads = metadata.integer('llama.attention.head_count_kv', 1, heads, heads);
    if (heads % kvHeads !== 0) {
      throw metadata.invalid('llama.attention.head_count_kv', `a divisor of the ${heads} attention heads`);
    }
    if (!metadata.has('llama.attention.key_length') && width % heads !== 0) {
      throw metadata.invalid('llama.attention.head_count', `a divisor of the width ${width}`);
    }
    const headWidth = metadata.integer('llama.attention.key_length', 1, 1024, width / heads);
    if (metadata.integer('llama.attention.value_length', 1, 1024, headWidth) !== headWidth) {
      throw metadata.invalid('llama.attention.value_length', `the key length ${headWidth}`);
    }
    const ropeWidth = metadata.integer('llama.rope.dimension_count', 2, headWidth, headWidth);
    if (ropeWidth % 2 !== 0) throw metadata.invalid('llama.rope.dimension_count', 'an even number');
    const activation = metadata.text('llama.feed_forward_activation') ?? 'silu';
    const known = activations.find((name) => name === activation);
    if (!known) throw metadata.invalid('llama.feed_forward_activation', `one of ${activations.join(', ')}`);
    return {
      layers: metadata.integer('llama.block_count', 1, 1024),
      width,
      ffnWidth: metadata.integer('llama.feed_forward_length', 1, 1 << 22),
      heads,
      kvHeads,
      headWidth,
      vocabulary,
      trainedContext: metadata.integer('llama.context_length', 1, 1 << 30),
      normEpsilon: metadata.number('llama.attention.layer_norm_rms_epsilon', 1e-12, 1),
      ropeBase: metadata.number('llama.rope.freq_base', 1, 1e12, 10000),
      ropeWidth,
      activation: known,
    };
  },

  tensors({ layers, width, ffnWidth, heads, kvHeads, headWidth, vocabulary }): ExpectedTensor[] {
    const queryWidth = heads * headWidth;
    const keyWidth = kvHeads * headWidth;
    const perLayer = (layer: number): ExpectedTensor[] => {
      const name = (part: string): string => `blk.${layer}.${part}.weight`;
      return [
        { name: name('attn_norm'), shape: [width] },
        { name: name('attn_q'), shape: [width, queryWidth] },
        { name: name('attn_k'), shape: [width, keyWidth] },
        { name: name('attn_v'), shape: [width, keyWidth] },
        { name: name('attn_output'), shape: [queryWidth, width] },
        { name: name('ffn_norm'), shape: [width] },
        { name: name('ffn_gate'), shape: [width, ffnWidth] },
        { name: name('ffn_up'), shape: [width, ffnWidth] },
        {
          name: name('ffn_down'),
          shape: [ffnWidth, width],
          alternative: { name: name('ffn_down_t'), shape: [width, ffnWidth] }, // neuron-major, for sparsity
        },
      ];
    };
    return [
      { name: 'token_embd.weight', shape: [width, vocabulary] },
      { name: 'output_norm.weight', shape: [width] },
      { name: 'output.weight', shape: [width, vocabulary], optional: true }, // absent = tied to the embedding
      ...Array.from({ length: layers }, (_, layer) => perLayer(layer)).flat(),
    ];
  },
};
