import { decoderTensors, readActivation, readSizes } from './decoder';
import type { Architecture } from './index';

/** Position p reads row p + 2 of the table, as the models were trained. */
const positionOffset = 2;

/** OPT (Zhang 2022): learned positions, LayerNorm before each branch, biases everywhere, a plain ReLU MLP. */
export const opt: Architecture = {
  dimensions(metadata, vocabulary) {
    const sizes = readSizes(metadata, 'opt', vocabulary);
    return {
      ...sizes,
      normEpsilon: metadata.number('opt.attention.layer_norm_epsilon', 1e-12, 1, 1e-5),
      rope: { base: 10_000, scaling: 'none', factor: 1, originalContext: sizes.trainedContext }, // not used
      ropeWidth: sizes.headWidth,
      activation: readActivation(metadata, 'opt', 'relu'),
    };
  },

  tensors(dimensions) {
    const { width, ffnWidth, trainedContext } = dimensions;
    return decoderTensors(dimensions, {
      gated: false,
      layer: ({ vector, queryWidth, keyWidth }) => [
        vector('attn_norm.bias', width),
        vector('attn_q.bias', queryWidth),
        vector('attn_k.bias', keyWidth),
        vector('attn_v.bias', keyWidth),
        vector('attn_output.bias', width),
        vector('ffn_norm.bias', width),
        vector('ffn_up.bias', ffnWidth),
        vector('ffn_down.bias', width),
      ],
      model: [
        { name: 'position_embd.weight', shape: [width, trainedContext + positionOffset] },
        { name: 'output_norm.bias', shape: [width] },
      ],
    });
  },
};
