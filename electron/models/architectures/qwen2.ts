import { decoderTensors, readActivation, readNormEpsilon, readRopeWidth, readSizes } from './decoder';
import type { Architecture } from './index';
import { readRope } from './rope';

/** Qwen2 and Qwen2.5 (Yang 2024): llama with biases on queries, keys and values, and RoPE over the two halves of a head. */
export const qwen2: Architecture = {
  dimensions(metadata, vocabulary) {
    const sizes = readSizes(metadata, 'qwen2', vocabulary);
    return {
      ...sizes,
      normEpsilon: readNormEpsilon(metadata, 'qwen2'),
      rope: readRope(metadata, 'qwen2', sizes.trainedContext),
      ropeWidth: readRopeWidth(metadata, 'qwen2', sizes.headWidth),
      activation: readActivation(metadata, 'qwen2', 'silu'),
    };
  },

  tensors(dimensions) {
    return decoderTensors(dimensions, {
      gated: true,
      layer: ({ vector, queryWidth, keyWidth }) => [
        vector('attn_q.bias', queryWidth),
        vector('attn_k.bias', keyWidth),
        vector('attn_v.bias', keyWidth),
      ],
    });
  },
};
