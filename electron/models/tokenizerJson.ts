import { HunchError } from '../contract/errors';
import type { PreTokenizer } from './preTokenizers';
import type { Vocabulary } from './vocabulary';
import { tokenKind } from './vocabulary';

export const spaceMark = '\u2581'; // SentencePiece writes a space as '▁'

/** All tokens but those that text must never turn into by itself. */
function vocabularyOf(excluded: ReadonlySet<number>, tokens: readonly string[]): Record<string, number> {
  const vocab: Record<string, number> = Object.create(null) as Record<string, number>;
  tokens.forEach((token, id) => {
    if (!excluded.has(id)) vocab[token] = id;
  });
  return vocab;
}

function isLowSurrogate(unit: number): boolean {
  return (unit & 0xfc00) === 0xdc00;
}

/** Byte-level BPE: the merges are in the file, best first. */
export function byteLevelJson(vocabulary: Vocabulary, excluded: ReadonlySet<number>, rules: PreTokenizer): string {
  if (vocabulary.merges.length === 0) {
    throw new HunchError(
      'model-invalid',
      `"${vocabulary.fileName}" cannot be used: its key "tokenizer.ggml.merges" is missing, but its tokenizer needs it. Get the file again.`,
    );
  }
  const vocab = vocabularyOf(excluded, vocabulary.tokens);
  const merges = vocabulary.merges
    .map((merge): [string, string] => {
      const gap = merge.indexOf(' ', 1);
      return gap < 0 ? [merge, ''] : [merge.slice(0, gap), merge.slice(gap + 1)];
    })
    .filter(([left, right]) => left in vocab && right in vocab && left + right in vocab); // none builds an excluded token
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        ...rules.patterns.map((pattern) => ({
          type: 'Split',
          pattern: { Regex: pattern },
          behavior: 'Isolated',
          invert: false,
        })),
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: null,
    decoder: null,
    model: { type: 'BPE', ignore_merges: rules.ignoreMerges ?? false, byte_fallback: false, vocab, merges },
  });
}

/**
 * SentencePiece's BPE: a pair may merge when its concatenation is a token, the highest score first. So every way to cut a
 * token in two is a merge, ranked by the token's score. Spaces are already '▁' in what is encoded.
 */
export function sentencePieceJson(vocabulary: Vocabulary, excluded: ReadonlySet<number>): string {
  const { tokens, scores, kinds, unknown, fileName } = vocabulary;
  if (scores.length === 0) {
    throw new HunchError(
      'model-invalid',
      `"${fileName}" cannot be used: its key "tokenizer.ggml.scores" is missing, but its tokenizer needs it. Get the file again.`,
    );
  }
  // Gemma's vocabulary has 262,144 tokens and 513,508 such cuts: about a second.
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => !excluded.has(id) && ids.set(token, id));
  const merges: { score: number; left: number; right: number }[] = [];
  tokens.forEach((token, id) => {
    if (excluded.has(id) || kinds[id] === tokenKind.byte || kinds[id] === tokenKind.unknown) return;
    for (let cut = 1; cut < token.length; cut++) {
      if (isLowSurrogate(token.charCodeAt(cut))) continue; // within a character
      const left = ids.get(token.slice(0, cut));
      const right = left === undefined ? undefined : ids.get(token.slice(cut));
      if (right !== undefined) merges.push({ score: scores[id] as number, left: left as number, right });
    }
  });
  merges.sort((a, b) => b.score - a.score || a.left - b.left || a.right - b.right);
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    model: {
      type: 'BPE',
      unk_token: unknown === null ? null : tokens[unknown],
      fuse_unk: true,
      byte_fallback: true,
      ignore_merges: false,
      vocab: vocabularyOf(excluded, tokens),
      merges: merges.map(({ left, right }) => [tokens[left], tokens[right]]),
    },
  });
}
