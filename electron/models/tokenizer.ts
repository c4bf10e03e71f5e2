import { Tokenizer as Library } from 'tokenizers';
import { HunchError } from '../contract/errors';
import { preTokenizer } from './preTokenizers';
import { TextStream } from './textStream';
import { byteLevelJson, sentencePieceJson, spaceMark } from './tokenizerJson';
import type { Vocabulary } from './vocabulary';
import { tokenKind } from './vocabulary';

/** Tokens that end a reply, whatever the file calls its end: known by their text. */
const endings = new Set([
  '<|im_end|>',
  '<|eot_id|>',
  '<|eom_id|>',
  '<|end|>',
  '<|endoftext|>',
  '<|end_of_text|>',
  '<end_of_turn>',
  '</s>',
  '<EOT>',
  '<|eot|>',
]);

export interface EncodeOptions {
  /** True = the special tokens' texts become special tokens. Never set it for what a person or a model wrote. */
  parseSpecial: boolean;
  /** False = the text goes on from earlier text, so no space is put before it (SentencePiece only). */
  atStart?: boolean;
}

/** A model's tokenizer: the `tokenizers` package for words, and the special tokens kept apart from them. */
export class Tokenizer {
  /** End a reply. */
  readonly stopTokens: number[];
  readonly bos: number | null;
  /** Whether a text for this model starts with `bos`. */
  readonly addBos: boolean;
  /** Texts that only a template may turn into their tokens, longest first. */
  readonly specialTexts: string[];

  private readonly special = new Map<string, number>();
  private readonly userDefined = new Map<string, number>();
  private readonly splitters: { all: RegExp | null; userDefined: RegExp | null };
  private readonly library: Library;
  private readonly sentencePiece: boolean;
  private readonly addSpacePrefix: boolean;
  private readonly tokenBytes: (Uint8Array | undefined)[] = [];
  private readonly tokenTexts: (string | undefined)[] = [];

  /** Errors: model-unsupported, model-invalid. */
  constructor(private readonly vocabulary: Vocabulary) {
    const { tokens, kinds, fileName } = vocabulary;
    const named = new Set([vocabulary.bos, vocabulary.eos, vocabulary.eot]);
    const excluded = new Set<number>();
    const stops = new Set<number>();
    tokens.forEach((token, id) => {
      // Converters mark some models' turn tokens as user-defined or even normal; their text tells them apart. But '</s>'
      // is an ordinary word of some vocabularies (HTML).
      const ending = endings.has(token) && (kinds[id] !== tokenKind.normal || token.startsWith('<|'));
      const special = kinds[id] === tokenKind.control || ending || named.has(id);
      if (ending) stops.add(id);
      if (token === '' || !(special || kinds[id] === tokenKind.userDefined)) return;
      (special ? this.special : this.userDefined).set(token, id);
      excluded.add(id);
    });
    for (const id of [vocabulary.eos, vocabulary.eot]) if (id !== null) stops.add(id);

    this.sentencePiece = vocabulary.model === 'llama';
    const json = (): string => {
      if (this.sentencePiece) return sentencePieceJson(vocabulary, excluded);
      if (vocabulary.model === 'gpt2')
        return byteLevelJson(vocabulary, excluded, preTokenizer(vocabulary.pre, fileName));
      throw new HunchError(
        'model-unsupported',
        `"${fileName}" has a tokenizer of the kind "${vocabulary.model}". Hunch has: gpt2 (byte-level BPE), llama (SentencePiece). Choose another model.`,
      );
    };
    const source = json();
    try {
      this.library = Library.fromString(source);
    } catch (error) {
      throw new HunchError(
        'model-invalid',
        `"${fileName}" has a tokenizer that contradicts itself (${(error as Error).message}). Get the file again.`,
        { cause: error },
      );
    }
    this.stopTokens = [...stops];
    this.bos = vocabulary.bos;
    const usual = this.sentencePiece || (preTokenizer(vocabulary.pre, fileName).addBos ?? false);
    this.addBos = (vocabulary.addBos ?? usual) && vocabulary.bos !== null;
    this.addSpacePrefix = this.sentencePiece && (vocabulary.addSpacePrefix ?? true);
    this.specialTexts = longestFirst([...this.special.keys()]);
    this.splitters = {
      all: alternatives([...this.special.keys(), ...this.userDefined.keys()]),
      userDefined: alternatives([...this.userDefined.keys()]),
    };
  }

  /** The token's own text, '' for an id that does not exist. */
  text(token: number | null): string {
    return token === null ? '' : (this.vocabulary.tokens[token] ?? '');
  }

  /** Token ids of a text, without BOS. */
  async encode(text: string, { parseSpecial, atStart = true }: EncodeOptions): Promise<number[]> {
    const ids: number[][] = [];
    let prefix = atStart;
    for (const piece of split(text, parseSpecial ? this.splitters.all : this.splitters.userDefined)) {
      const known = piece.matched ? (this.special.get(piece.text) ?? this.userDefined.get(piece.text)) : undefined;
      if (known !== undefined) ids.push([known]);
      else ids.push(await this.encodeWords(piece.text, prefix));
      prefix = true; // SentencePiece starts afresh after each special token
    }
    return ids.flat();
  }

  private async encodeWords(text: string, atStart: boolean): Promise<number[]> {
    const prepared = this.sentencePiece
      ? (this.addSpacePrefix && atStart ? ` ${text}` : text).replaceAll(' ', spaceMark)
      : text;
    return (await this.library.encode(prepared, null, { addSpecialTokens: false })).getIds();
  }

  /** A decoder for one reply. */
  stream(): TextStream {
    return new TextStream((token) => this.bytes(token));
  }

  decode(tokens: readonly number[]): string {
    return this.stream().push(tokens);
  }

  /** One token alone, for showing it: U+FFFD where it is a part of a character, a special token's own name. */
  textOf(token: number): string {
    return (this.tokenTexts[token] ??= this.computeText(token));
  }

  private computeText(token: number): string {
    const bytes = this.bytes(token);
    return bytes.length > 0 ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes) : this.text(token);
  }

  /** The bytes a token stands for; none for special tokens, which are not text. */
  private bytes(token: number): Uint8Array {
    return (this.tokenBytes[token] ??= this.computeBytes(token));
  }

  private computeBytes(id: number): Uint8Array {
    const token = this.vocabulary.tokens[id];
    const kind = this.vocabulary.kinds[id];
    if (token === undefined || this.special.has(token) || kind === tokenKind.unknown) return new Uint8Array(0);
    if (this.userDefined.has(token)) return Buffer.from(this.sentencePiece ? token.replaceAll(spaceMark, ' ') : token);
    if (!this.sentencePiece) return fromByteLevel(token);
    const byte = kind === tokenKind.byte ? /^<0x([0-9A-Fa-f]{2})>$/.exec(token)?.[1] : undefined;
    return byte ? Uint8Array.of(parseInt(byte, 16)) : Buffer.from(token.replaceAll(spaceMark, ' '));
  }
}

function longestFirst(texts: string[]): string[] {
  return texts.sort((a, b) => b.length - a.length);
}

function alternatives(texts: string[]): RegExp | null {
  if (texts.length === 0) return null;
  const escaped = longestFirst(texts).map((text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(escaped.join('|'), 'g');
}

function* split(text: string, splitter: RegExp | null): Generator<{ text: string; matched: boolean }> {
  let from = 0;
  for (const match of splitter ? text.matchAll(splitter) : []) {
    if (match.index > from) yield { text: text.slice(from, match.index), matched: false };
    yield { text: match[0], matched: true };
    from = match.index + match[0].length;
  }
  if (from < text.length) yield { text: text.slice(from), matched: false };
}

/** GPT-2's alphabet writes each byte as a printable character: those that are printable as themselves, the rest from U+0100 on. */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  const printable = (byte: number): boolean =>
    (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
  const map = new Map<string, number>();
  let next = 0x100;
  for (let byte = 0; byte < 256; byte++) map.set(String.fromCharCode(printable(byte) ? byte : next++), byte);
  return map;
})();

function fromByteLevel(token: string): Uint8Array {
  const bytes = Array.from(token, (character) => byteOfCharacter.get(character));
  // A token outside the alphabet was added as plain text.
  return bytes.includes(undefined) ? Buffer.from(token) : Uint8Array.from(bytes as number[]);
}
