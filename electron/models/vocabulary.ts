import { HunchError } from '../contract/errors';
import type { Metadata } from './metadata';

/** A token's kind, as GGUF numbers it. */
export const tokenKind = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

/** The tokenizer's part of a GGUF header, checked. */
export interface Vocabulary {
  fileName: string;
  model: string; // 'gpt2' (byte-level BPE) or 'llama' (SentencePiece)
  pre: string; // name of the pre-tokenizer's rules
  tokens: string[];
  kinds: number[]; // one per token
  scores: number[]; // SentencePiece: one per token; else empty
  merges: string[]; // BPE: 'left right', best first; else empty
  bos: number | null;
  eos: number | null;
  eot: number | null;
  unknown: number | null;
  addBos: boolean | null; // null = the file does not say
  addSpacePrefix: boolean | null;
}

const prefix = 'tokenizer.ggml.';

function sameLength<T>(metadata: Metadata, key: string, list: T[] | undefined, length: number): T[] | undefined {
  if (list && list.length !== length) throw metadata.invalid(key, `a list of ${length}, one for each token`);
  return list;
}

/** Errors: model-invalid, model-unsupported (no tokenizer in the file). */
export function readVocabulary(metadata: Metadata): Vocabulary {
  const model = metadata.text(`${prefix}model`);
  if (!model || model === 'no_vocab') {
    throw new HunchError(
      'model-unsupported',
      `"${metadata.fileName}" carries no tokenizer, so no text can be given to it. Choose a complete conversion of the model.`,
    );
  }
  const tokens = metadata.texts(`${prefix}tokens`);
  if (!tokens || tokens.length === 0) throw metadata.invalid(`${prefix}tokens`, 'a list of texts');
  const count = tokens.length;
  const id = (name: string): number | null =>
    metadata.has(`${prefix}${name}`) ? metadata.integer(`${prefix}${name}`, 0, count - 1) : null;
  const kinds = sameLength(metadata, `${prefix}token_type`, metadata.numbers(`${prefix}token_type`), count);
  const scores = sameLength(metadata, `${prefix}scores`, metadata.numbers(`${prefix}scores`), count);
  const opt = metadata.get('general.architecture') === 'opt'; // GPT-2's words after a BOS, which its files leave unsaid
  return {
    fileName: metadata.fileName,
    model,
    pre: metadata.text(`${prefix}pre`) ?? (opt ? 'gpt-2' : 'default'),
    tokens,
    kinds: kinds ?? new Array<number>(count).fill(tokenKind.normal),
    scores: scores ?? [],
    merges: metadata.texts(`${prefix}merges`) ?? [],
    bos: id('bos_token_id'),
    eos: id('eos_token_id'),
    eot: id('eot_token_id'),
    unknown: id('unknown_token_id'),
    addBos: metadata.flag(`${prefix}add_bos_token`) ?? (opt ? true : null),
    addSpacePrefix: metadata.flag(`${prefix}add_space_prefix`) ?? null,
  };
}
