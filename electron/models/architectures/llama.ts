import { decoderTensors, readActivation, readNormEpsilon, readRopeWidth, readSizes } from './decoder';
import type { Architecture } from './index';
import { readRope } from './rope';

/**
 * Llama, Mistral, SmolLM and their ReLU variants: RMSNorm, RoPE over neighbouring pairs, grouped-query attention, gated
 * MLP. Mistral's files carry this name too; where they name a sliding window, it is every layer's.
 */
export const llama: Architecture = {
  dimensions(metadata, vocabulary) {
    const sizes = readSizes(metadata, 'llama', vocabulary);
    const rope = readRope(metadata, 'llama', sizes.trainedContext);
    const positions = metadata.integer('llama.attention.sliding_window', 0, 1 << 30, 0);
    return {
      ...sizes,
      normEpsilon: readNormEpsilon(metadata, 'llama'),
      rope,
      ropeWidth: readRopeWidth(metadata, 'llama', sizes.headWidth),
      ...(positions > 0 ? { window: { positions, pattern: sizes.layers + 1, rope } } : {}),
      activation: readActivation(metadata, 'llama', 'silu'),
    };
  },

  tensors(dimensions) {
    return decoderTensors(dimensions, {
      gated: true,
      layer: ({ vector, queryWidth, keyWidth }) => [
        vector('attn_q.bias', queryWidth, true),
        vector('attn_k.bias', keyWidth, true),
        vector('attn_v.bias', keyWidth, true),
        vector('attn_output.bias', dimensions.width, true),
      ],
      model: [{ name: 'rope_freqs.weight', shape: [dimensions.ropeWidth / 2], optional: true }], // Llama 3
    });
  },
};
