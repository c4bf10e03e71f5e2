import { describe, expect, it } from 'vitest';
import { encodePair } from '../../../electron/eval/encodePair';
import { Tokenizer } from '../../../electron/models/tokenizer';
import { byteLevelVocabulary, sentencePieceVocabulary } from '../models/vocabularies';

const bytes = new Tokenizer(byteLevelVocabulary());
const pieces = new Tokenizer(sentencePieceVocabulary());
const token = (tokenizer: Tokenizer, text: string): Promise<number[]> => tokenizer.encode(text, { parseSpecial: true });

describe('a context and its continuation', () => {
  it('are encoded in one piece and cut at the length of the context', async () => {
    const pair = await encodePair(bytes, 'hello', ' w');
    expect(pair).toEqual({ tokens: await token(bytes, 'hello w'), context: 1 });
    // 'he' + 'llo' becomes the one token 'hello': the cut falls after as many tokens as 'he' has, and none is left.
    expect(await encodePair(bytes, 'he', 'llo')).toBeNull();
  });

  it('keep their space: at the end of the context it moves to the continuation', async () => {
    const moved = await encodePair(bytes, 'hello ', 'w');
    expect(moved).toEqual(await encodePair(bytes, 'hello', ' w'));
    const lines = await encodePair(bytes, 'hello \n', ' w');
    expect(lines!.context).toBe(1);
    expect(lines!.tokens).toEqual(await token(bytes, 'hello \n w'));
  });

  it('start with the first token where the context is empty', async () => {
    const first = bytes.bos as number;
    for (const context of ['', '  ']) {
      const pair = await encodePair(bytes, context, 'hello');
      expect(pair).toEqual({ tokens: [first, ...(await token(bytes, `${context}hello`))], context: 1 });
    }
    expect(await encodePair(bytes, '', '<|im_start|>hello')).toEqual({
      tokens: [first, (await token(bytes, 'hello'))[0]],
      context: 1,
    });
  });

  it('start with BOS where the model asks for it', async () => {
    expect(pieces.addBos).toBe(true);
    const pair = await encodePair(pieces, 'hello', ' world');
    expect(pair).toEqual({ tokens: [1, ...(await token(pieces, 'hello world'))], context: 2 });
    expect(await encodePair(pieces, '', 'hello')).toEqual({
      tokens: [1, ...(await token(pieces, 'hello'))],
      context: 1,
    });
  });
});
