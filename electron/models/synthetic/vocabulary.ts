import type { GgufKeys } from './ggufWriter';

/** GPT-2's printable stand-in for each byte. */
function byteLetters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

/** Byte-level BPE of any size from 258: every byte, one merge (a tokenizer needs one), one end token, and fillers. */
export function syntheticVocabulary(size: number): GgufKeys {
  const letters = byteLetters();
  const merge = ['Ġ', 't'] as const;
  const end = '<|endoftext|>';
  const fillers = Array.from({ length: size - letters.length - 2 }, (_, index) => `<filler${index}>`);
  const tokens = [...letters, merge.join(''), ...fillers, end];
  const kinds = Int32Array.from(tokens, (token) => (token === end ? 3 : 1)); // control, normal
  return {
    'tokenizer.ggml.model': 'gpt2',
    'tokenizer.ggml.pre': 'gpt-2',
    'tokenizer.ggml.tokens': tokens,
    'tokenizer.ggml.token_type': kinds,
    'tokenizer.ggml.merges': [merge.join(' ')],
    'tokenizer.ggml.bos_token_id': size - 1,
    'tokenizer.ggml.eos_token_id': size - 1,
    'tokenizer.ggml.add_bos_token': false,
  };
}
