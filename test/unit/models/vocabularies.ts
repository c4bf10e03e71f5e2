import type { Vocabulary } from '../../../electron/models/vocabulary';
import { tokenKind } from '../../../electron/models/vocabulary';

/** GPT-2's printable stand-in for each byte. */
function byteLetters(): string[] {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

const base = { fileName: 'tiny.gguf', pre: 'smollm', unknown: null, eot: null, addSpacePrefix: null };

/** Byte-level: two ChatML tokens, `<think>` user-defined, all bytes, a few words. Token of byte b: 3 + b. */
export function byteLevelVocabulary(change: Partial<Vocabulary> = {}): Vocabulary {
  const merges = ['h e', 'l l', 'he ll', 'hell o', 'Ġ w', 'i m', '< |', '| >'];
  const words = merges.map((merge) => merge.replace(' ', ''));
  const tokens = ['<|im_start|>', '<|im_end|>', '<think>', ...byteLetters(), ...words];
  const kinds = tokens.map((_, id) =>
    id < 2 ? tokenKind.control : id === 2 ? tokenKind.userDefined : tokenKind.normal,
  );
  return { ...base, model: 'gpt2', tokens, kinds, scores: [], merges, bos: 0, eos: 1, addBos: null, ...change };
}

/** SentencePiece: <unk> <s> </s>, byte tokens, letters and pieces of 'hello world'. Token of byte b: 3 + b. */
export function sentencePieceVocabulary(change: Partial<Vocabulary> = {}): Vocabulary {
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`);
  const letters = ['▁', ...'helowrd'];
  const pieces: [string, number][] = [
    ['he', -1],
    ['ll', -2],
    ['hell', -3],
    ['▁w', -4],
    ['or', -5],
    ['▁wor', -6],
    ['ld', -7],
    ['▁world', -8],
    ['▁hell', -9],
    ['▁hello', -10],
  ];
  const tokens = ['<unk>', '<s>', '</s>', ...bytes, ...letters, ...pieces.map(([text]) => text)];
  const kinds = tokens.map((_, id) =>
    id === 0 ? tokenKind.unknown : id < 3 ? tokenKind.control : id < 259 ? tokenKind.byte : tokenKind.normal,
  );
  const scores = [
    ...tokens.slice(0, 259).map(() => 0),
    ...letters.map(() => -100),
    ...pieces.map(([, score]) => score),
  ];
  return {
    ...{ ...base, model: 'llama', tokens, kinds, scores, merges: [], unknown: 0 },
    ...{ bos: 1, eos: 2, addBos: null, ...change },
  };
}
