import type { Shape } from '../../../electron/models/synthetic/shapes';
import { shapes } from '../../../electron/models/synthetic/shapes';

/** llama-3.2-1b's keys with small numbers. */
export function tinyShape(width = 256): Shape {
  const real = shapes.find(({ name }) => name === 'llama-3.2-1b') as Shape;
  const small: Record<string, number> = {
    'llama.block_count': 2,
    'llama.embedding_length': width,
    'llama.feed_forward_length': 2 * width,
    'llama.attention.head_count': width / 64,
    'llama.attention.head_count_kv': width / 128,
  };
  return { ...real, name: 'tiny', keys: { ...real.keys, ...small }, vocabulary: 600 };
}
