import type { RopeSpec } from '../../engine/addon';
import type { Metadata } from '../metadata';
import { unsupportedVariant } from './decoder';

/** YaRN's constants (Peng 2023), which the engine fixes. */
const yarnDefaults = { yarn_ext_factor: 1, yarn_beta_fast: 32, yarn_beta_slow: 1 } as const;

/**
 * How a model's positions rotate. A factor without a type means linear, as in llama.cpp; Llama 3's scaling is not in the
 * keys but in the tensor `rope_freqs.weight`. Errors: model-invalid; model-unsupported (kinds and constants of scaling
 * that the engine does not have).
 */
export function readRope(metadata: Metadata, architecture: string, trainedContext: number): RopeSpec {
  const key = (name: string): string => `${architecture}.rope.${name}`;
  const unsupported = (what: string): Error => unsupportedVariant(metadata, architecture, what);
  const base = metadata.number(key('freq_base'), 1, 1e12, 10_000);
  const unscaled: RopeSpec = { base, scaling: 'none', factor: 1, originalContext: trainedContext };

  const type = metadata.text(key('scaling.type')) ?? 'linear';
  const factorKey = metadata.has(key('scaling.factor')) ? key('scaling.factor') : key('scale_linear'); // its older name
  const factor = metadata.number(factorKey, 0, 1e6, 1) || 1; // 0 = not scaled
  if (type !== 'none' && type !== 'linear' && type !== 'yarn')
    throw unsupported(`rotary positions scaled by "${type}"`);
  if (metadata.number(key('scaling.attn_factor'), 0, 1e6, 1) !== 1) {
    throw unsupported(`a factor of ${metadata.show(key('scaling.attn_factor'))} on its rotary positions`);
  }
  if (type === 'none' || factor === 1) return unscaled;
  if (type === 'linear') return { ...unscaled, scaling: 'linear', factor };

  for (const [name, usual] of Object.entries(yarnDefaults)) {
    const constant = key(`scaling.${name}`);
    if (metadata.number(constant, -1e6, 1e6, usual) !== usual) {
      throw unsupported(`YaRN's ${name} of ${metadata.show(constant)} in place of ${usual}`);
    }
  }
  const magnitude = key('scaling.yarn_attn_factor');
  const usualMagnitude = 1 + 0.1 * Math.log(factor);
  if (Math.abs(metadata.number(magnitude, 0, 1e6, usualMagnitude) - usualMagnitude) > 1e-3) {
    throw unsupported(
      `YaRN's attention factor of ${metadata.show(magnitude)} in place of ${usualMagnitude.toFixed(4)}`,
    );
  }
  if (factor < 1) throw metadata.invalid(factorKey, 'at least 1');
  const originalContext = metadata.integer(key('scaling.original_context_length'), 1, 1 << 30, trainedContext);
  return { ...unscaled, scaling: 'yarn', factor, originalContext };
}
