import type { ModelSpec } from '../../engine/addon';
import { decoderTensors, readActivation, readNormEpsilon, readRopeWidth, readSizes } from './decoder';
import type { Architecture } from './index';
import { readRope } from './rope';

/** Llama's computation and tensors under an architecture's name. */
function llamaLike(name: string, activation: ModelSpec['activation']): Architecture {
  return {
    dimensions(metadata, vocabulary) {
      const sizes = readSizes(metadata, name, vocabulary);
      const rope = readRope(metadata, name, sizes.trainedContext);
      const positions = metadata.integer(`${name}.attention.sliding_window`, 0, 1 << 30, 0);
      return {
        ...sizes,
        normEpsilon: readNormEpsilon(metadata, name),
        rope,
        ropeWidth: readRopeWidth(metadata, name, sizes.headWidth),
        ...(positions > 0 ? { window: { positions, pattern: sizes.layers + 1, rope } } : {}),
        activation: readActivation(metadata, name, activation),
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
}

/**
 * Llama, Mistral, SmolLM and their ReLU variants: RMSNorm, RoPE over neighbouring pairs, grouped-query attention, gated
 * MLP. Mistral's files carry this name too; where they name a sliding window, it is every layer's.
 */
export const llama = llamaLike('llama', 'silu');

/** Bamboo (Song 2024), Mistral 7B with dReLU. */
export const bamboo = llamaLike('bamboo', 'drelu');
