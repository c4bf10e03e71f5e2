import type { WindowSpec } from '../../engine/addon';
import type { Metadata } from '../metadata';
import type { Sizes } from './decoder';
import {
  decoderTensors,
  readActivation,
  readNormEpsilon,
  readRopeWidth,
  readSizes,
  unsupportedVariant,
} from './decoder';
import type { Architecture } from './index';
import { readRope } from './rope';

const usualPattern = 6; // five windowed layers to each full one
const layersOf27B = 62; // the one size whose queries are scaled by the width per head, not by the head's width

/** Windowed layers rotate with a base of their own and are never scaled. */
function readWindow(metadata: Metadata, layers: number): WindowSpec | undefined {
  const positions = metadata.integer('gemma3.attention.sliding_window', 0, 1 << 30, 0);
  if (positions === 0) return undefined;
  const base = metadata.number('gemma3.rope.freq_base_swa', 1, 1e12, 10_000);
  const pattern = readPattern(metadata, layers);
  return { positions, pattern, rope: { base, scaling: 'none', factor: 1, originalContext: positions } };
}

/** A number (0 = no layer is full) or one flag for each layer, true = windowed; the engine takes regular ones. */
function readPattern(metadata: Metadata, layers: number): number {
  const key = 'gemma3.attention.sliding_window_pattern';
  const value = metadata.get(key);
  if (!Array.isArray(value)) return metadata.integer(key, 0, 1024, usualPattern) || layers + 1;
  if (value.length !== layers) throw metadata.invalid(key, `a list of ${layers}, one for each layer`);
  const windowed = value.map(Boolean);
  const firstFull = windowed.indexOf(false);
  const pattern = firstFull < 0 ? layers + 1 : firstFull + 1;
  if (windowed.some((flag, layer) => flag === ((layer + 1) % pattern === 0))) {
    throw unsupportedVariant(metadata, 'gemma3', 'an irregular order of sliding-window layers');
  }
  return pattern;
}

function attentionScale(sizes: Sizes): number {
  return 1 / Math.sqrt(sizes.layers === layersOf27B ? sizes.width / sizes.heads : sizes.headWidth);
}

/** Gemma 3, text (Gemma Team 2025): norms before and after each branch and on query and key heads, windowed layers. */
export const gemma3: Architecture = {
  dimensions(metadata, vocabulary) {
    const sizes = readSizes(metadata, 'gemma3', vocabulary);
    const rope = readRope(metadata, 'gemma3', sizes.trainedContext);
    if (rope.scaling === 'yarn') throw unsupportedVariant(metadata, 'gemma3', 'rotary positions scaled by "yarn"');
    for (const key of ['gemma3.final_logit_softcapping', 'gemma3.attn_logit_softcapping']) {
      if (metadata.number(key, 0, 1e6, 0) > 0) {
        throw unsupportedVariant(metadata, 'gemma3', `logits capped at ${metadata.show(key)}`);
      }
    }
    const window = readWindow(metadata, sizes.layers);
    return {
      ...sizes,
      normEpsilon: readNormEpsilon(metadata, 'gemma3'),
      rope,
      ropeWidth: readRopeWidth(metadata, 'gemma3', sizes.headWidth),
      ...(window ? { window } : {}),
      attentionScale: attentionScale(sizes),
      activation: readActivation(metadata, 'gemma3', 'gelu'),
    };
  },

  tensors(dimensions) {
    return decoderTensors(dimensions, {
      gated: true,
      layer: ({ vector }) => [
        vector('attn_q_norm.weight', dimensions.headWidth),
        vector('attn_k_norm.weight', dimensions.headWidth),
        vector('post_attention_norm.weight', dimensions.width),
        vector('post_ffw_norm.weight', dimensions.width),
      ],
    });
  },
};
