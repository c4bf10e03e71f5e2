import { describe, expect, it } from 'vitest';
import { TextStream } from '../../../electron/models/textStream';
import { Tokenizer } from '../../../electron/models/tokenizer';
import { byteLevelVocabulary, sentencePieceVocabulary } from './vocabularies';

const plain = { parseSpecial: false };
const special = { parseSpecial: true };

describe('a byte-level tokenizer', () => {
  const vocabulary = byteLevelVocabulary();
  const tokenizer = new Tokenizer(vocabulary);
  const texts = (ids: number[]): string[] => ids.map((id) => vocabulary.tokens[id]!);

  it('merges words and splits digits', async () => {
    expect(texts(await tokenizer.encode('hello w', plain))).toEqual(['hello', 'Ġw']);
    expect(texts(await tokenizer.encode('12', plain))).toEqual(['1', '2']);
  });

  it('never reads special tokens in plain text', async () => {
    const ids = await tokenizer.encode('hello<|im_end|>', plain);
    expect(ids).not.toContain(1);
    expect(tokenizer.decode(ids)).toBe('hello<|im_end|>');
    expect(await tokenizer.encode('hello<|im_end|>', special)).toEqual([vocabulary.tokens.indexOf('hello'), 1]);
  });

  it('reads user-defined tokens everywhere', async () => {
    expect(await tokenizer.encode('<think>', plain)).toEqual([2]);
    expect(tokenizer.decode([2])).toBe('<think>');
  });

  it('does not build a special token from merges that a file smuggles in', async () => {
    const merges = [...vocabulary.merges, '<| im', '<|im _', '<|im_ e', '<|im_e n', '<|im_en d', '<|im_end |>'];
    const tokens = [...vocabulary.tokens, '<|im', '<|im_', '<|im_e', '<|im_en', '<|im_end'];
    const kinds = [...vocabulary.kinds, 1, 1, 1, 1, 1];
    const hostile = new Tokenizer(byteLevelVocabulary({ merges, tokens, kinds, pre: 'llama-bpe' }));
    expect(await hostile.encode('<|im_end|>', plain)).not.toContain(1);
  });

  it('ends replies at EOS and at turn ends known by their text', () => {
    expect(tokenizer.stopTokens).toEqual([1]);
    const tokens = [...vocabulary.tokens, '<|eot_id|>', '</s>'];
    const other = new Tokenizer(byteLevelVocabulary({ tokens, kinds: [...vocabulary.kinds, 3, 1], eos: 0 }));
    expect(other.stopTokens.sort((a, b) => a - b)).toEqual([0, 1, tokens.length - 2]); // '</s>' is a normal word here
  });

  it('round-trips any text', async () => {
    for (const text of ['', ' ', 'naïve 漢字 👩‍👩‍👧', 'a\u0000b\r\n\t', '\u{10FFFF}', '\uFEFFx', '🇩🇪'.repeat(50)]) {
      expect(tokenizer.decode(await tokenizer.encode(text, plain))).toBe(text);
    }
  });

  it('refuses what it cannot do', () => {
    expect(() => new Tokenizer(byteLevelVocabulary({ pre: 'klingon' }))).toThrow(/"klingon".*smollm/);
    expect(() => new Tokenizer(byteLevelVocabulary({ model: 't5' }))).toThrow(/"t5"/);
    expect(() => new Tokenizer(byteLevelVocabulary({ merges: [] }))).toThrow(/merges" is missing/);
  });
});

describe('a SentencePiece tokenizer', () => {
  const vocabulary = sentencePieceVocabulary();
  const tokenizer = new Tokenizer(vocabulary);
  const texts = (ids: number[]): string[] => ids.map((id) => vocabulary.tokens[id]!);

  it('puts a space before, merges by score and falls back to bytes', async () => {
    expect(texts(await tokenizer.encode('hello world', plain))).toEqual(['▁hello', '▁world']);
    expect(texts(await tokenizer.encode('é', plain))).toEqual(['▁', '<0xC3>', '<0xA9>']);
    expect(texts(await tokenizer.encode('hello', { ...plain, atStart: false }))).toEqual(['hell', 'o']);
    expect(tokenizer.addBos).toBe(true);
  });

  it('decodes spaces and byte tokens', async () => {
    expect(tokenizer.decode(await tokenizer.encode('hello 👋 world', plain))).toBe(' hello 👋 world');
  });

  it('never reads special tokens in plain text', async () => {
    expect(await tokenizer.encode('</s>', plain)).not.toContain(2);
    expect(await tokenizer.encode('</s>', special)).toEqual([2]);
  });
});

describe('the text of a stream', () => {
  const bytes = (text: string): number[] => [...Buffer.from(text)];
  const stream = (): TextStream => new TextStream((byte) => Uint8Array.of(byte));

  it('gives a character out only whole', () => {
    const open = stream();
    const [a, b, c, d] = bytes('👋') as [number, number, number, number];
    expect([open.push([a]), open.complete]).toEqual(['', false]);
    expect(open.push([b, c])).toBe('');
    expect(open.push([d, ...bytes('é')])).toBe('👋é');
    expect(open.complete).toBe(true);
  });

  it('replaces bytes that cannot become a character, and goes on', () => {
    for (const bad of [[0xff], [0xc0, 0x80], [0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x28]]) {
      const text = stream().push([...bad, ...bytes('ok👋')]);
      expect(text).toBe(new TextDecoder().decode(Uint8Array.from([...bad, ...bytes('ok👋')])));
      expect(text).toMatch(/^\uFFFD.*ok👋$/);
    }
  });

  it('equals decoding at once, wherever the bytes are cut', () => {
    const random = (() => {
      let state = 12345;
      return (below: number): number => (state = (state * 1103515245 + 12345) % 2 ** 31) % below;
    })();
    const texts = ['日本語', '👩‍👩‍👧', 'ascii', '\uFEFF', 'é', '\u0000'];
    for (let round = 0; round < 500; round++) {
      const content = Array.from({ length: 20 }, () =>
        random(4) === 0 ? [random(256)] : bytes(texts[random(texts.length)]!),
      ).flat();
      content.push(...bytes('.')); // closes what is open
      const open = stream();
      let given = '';
      for (let at = 0; at < content.length;) {
        const next = at + 1 + random(5);
        given += open.push(content.slice(at, next));
        at = next;
      }
      expect(given).toBe(new TextDecoder('utf-8', { ignoreBOM: true }).decode(Uint8Array.from(content)));
    }
  });
});
