import { decoderTensors, readActivation, readNormEpsilon, readRopeWidth, readSizes } from './decoder';
import type { Architecture } from './index';
import { readRope } from './rope';

/** Qwen3 (Yang 2025), dense: no biases, but a norm on each query and key head before RoPE. */
export const qwen3: Architecture = {
  dimensions(metadata, vocabulary) {
    const sizes = readSizes(metadata, 'qwen3', vocabulary);
    return {
      ...sizes,
      normEpsilon: readNormEpsilon(metadata, 'qwen3'),
      rope: readRope(metadata, 'qwen3', sizes.trainedContext),
      ropeWidth: readRopeWidth(metadata, 'qwen3', sizes.headWidth),
      activation: readActivation(metadata, 'qwen3', 'silu'),
    };
  },

  tensors(dimensions) {
    return decoderTensors(dimensions, {
      gated: true,
      layer: ({ vector }) => [
        vector('attn_q_norm.weight', dimensions.headWidth),
        vector('attn_k_norm.weight', dimensions.headWidth),
      ],
    });
  },
};
