import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { PromptEncoder, PromptMemory } from '../../electron/models/prompt';
import type { TemplateMessage } from '../../electron/models/template';
import { ChatTemplate } from '../../electron/models/template';
import { Tokenizer } from '../../electron/models/tokenizer';
import { starterFile } from './starter';

/** What llama.cpp's tokenizer makes of excerpt.txt with this model (special tokens not parsed). */
// prettier-ignore
const expectedIds = [
  446, 378, 33059, 418, 2838, 589, 446, 1116, 533, 216, 33, 40, 39, 40, 260, 40061,
  4150, 42, 476, 11929, 442, 40739, 28, 216, 35, 40, 25035, 43, 15230, 2067, 216, 34,
  6381, 1270, 909, 18918, 982, 31633, 28, 284, 357, 506, 1137, 384, 6737, 17288, 216, 33,
  28, 32, 34, 36, 31435, 1092, 16804, 30, 198, 197, 22720, 99, 365, 254, 24927, 727,
  216, 33, 34, 30, 37, 32, 1232, 216, 39, 30, 41, 41, 446, 216, 34, 32,
  30, 36, 41, 1841, 8553, 10257, 33, 39, 30, 38, 32, 28, 355, 3351, 115, 35,
  28, 35, 32, 32, 30, 1116, 753, 15482, 24, 104, 727, 2367, 1003, 9583, 2231, 1799,
  1792, 6541, 1943, 28, 476, 94, 1799, 933, 33, 28, 216, 34, 34, 28, 216, 35,
  35, 35, 28, 216, 36, 36, 36, 36, 28852, 216, 907, 15486, 46494, 37366, 28, 40852,
  28, 44741, 98, 21817, 1116, 17097, 241, 115, 40993, 179, 120, 248, 26453, 29184, 47287, 250,
  7365, 117, 39958, 19076, 177, 137, 112, 36518, 7365, 118, 7365, 229, 7365, 120, 29917, 10391,
  121, 10391, 140, 10391, 121, 11100, 228, 19076, 5470, 249, 46879, 16464, 32547, 28, 41337, 7872,
  9175, 17, 12960, 119, 31838, 23970, 162, 247, 12960, 112, 23970, 31838, 162, 247, 30, 36395,
  20602, 44626, 31462, 10805, 45726, 22208, 34966, 22208, 21706, 30, 12335, 118, 35090, 38770, 16525, 26293,
  30581, 12335, 116, 42990, 30658, 27011, 32932, 18075, 198, 2553, 33777, 42, 15107, 235, 119, 321,
  231, 10813, 235, 119, 321, 231, 10813, 235, 117, 15107, 225, 128, 10813, 225, 126, 15107,
  233, 129, 188, 250, 219, 117, 188, 250, 219, 112, 188, 250, 219, 128, 188, 250,
  219, 113, 188, 250, 219, 129, 188, 250, 219, 140, 15107, 235, 229, 10813, 233, 138,
  216, 16738, 216, 19133, 216, 173, 223, 117, 216, 164, 113, 164, 114, 164, 115, 1116,
  3349, 1767, 1535, 42, 2067, 108, 306, 79, 3738, 108, 46, 9690, 44, 108, 306, 79,
  486, 108, 46, 2067, 108, 486, 1714, 2692, 108, 46, 2067, 22139, 79, 1245, 46, 3394,
  29, 48, 2067, 5131, 46, 1116, 11181, 3295, 4966, 256, 5600, 256, 284, 197, 100, 7366,
  197, 197, 486, 30, 333, 198,
];
const excerpt = readFileSync(new URL('./excerpt.txt', import.meta.url), 'utf8');

let tokenizer: Tokenizer;
let encoder: PromptEncoder;
beforeAll(async () => {
  const { vocabulary, chatTemplate } = await starterFile();
  tokenizer = new Tokenizer(vocabulary);
  encoder = new PromptEncoder(new ChatTemplate(chatTemplate, vocabulary.fileName, { bos: '', eos: '' }), tokenizer);
});

describe("SmolLM2's tokenizer", () => {
  it('gives the same ids as llama.cpp', async () => {
    expect(await tokenizer.encode(excerpt, { parseSpecial: false })).toEqual(expectedIds);
    expect(tokenizer.decode(expectedIds)).toBe(excerpt);
    expect(tokenizer.addBos).toBe(false);
  });

  it('ends replies at the end of a turn and of a text', () => {
    expect(tokenizer.stopTokens.map((id) => tokenizer.text(id)).sort()).toEqual(['<|endoftext|>', '<|im_end|>']);
  });
});

describe("SmolLM2's prompts", () => {
  const turns: TemplateMessage[] = [
    { role: 'user', content: 'What is the capital of France?' },
    { role: 'assistant', content: 'The capital of France is Paris.' },
    { role: 'user', content: excerpt },
    { role: 'assistant', content: '1. one\n  2. two 👋\n\n' },
    { role: 'user', content: ' thanks ' },
  ];

  it('renders as the model was trained', async () => {
    const rendered = encoder.render(turns.slice(0, 1));
    expect(rendered).toBe(
      '<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n' +
        '<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n',
    );
    expect((await encoder.encode(rendered)).length).toBe(37);
  });

  it('keeps every earlier conversation as an exact prefix', async () => {
    for (const messages of [turns, [{ role: 'system' as const, content: 'Be brief.' }, ...turns]]) {
      let previous: number[] = [];
      for (let count = messages.length - turns.length + 1; count <= messages.length; count += 2) {
        const ids = await encoder.encode(encoder.render(messages.slice(0, count)));
        expect(ids.slice(0, previous.length)).toEqual(previous);
        expect(ids.length).toBeGreaterThan(previous.length);
        previous = ids;
      }
    }
  });

  it('keeps it also where a reply begins with a line break, which the tokenizer would join to the one before', async () => {
    const [question, , followUp] = turns as [TemplateMessage, TemplateMessage, TemplateMessage];
    const reply = '\n\n1. one 👋';
    const memory = new PromptMemory(encoder);
    const first = await memory.encode(encoder.render([question]));
    const written = await tokenizer.encode(reply, { parseSpecial: false });
    memory.extend(reply, written);
    const answered: TemplateMessage[] = [question, { role: 'assistant', content: reply }, followUp];
    const second = await memory.encode(encoder.render(answered));
    expect(second.slice(0, first.length + written.length)).toEqual([...first, ...written]);
    expect(await encoder.encode(encoder.render(answered))).not.toEqual(second); // else this test proves nothing
  });

  it("holds no special token but the template's", async () => {
    const ids = await encoder.encode(encoder.render(turns));
    const starts = ids.filter((id) => tokenizer.text(id) === '<|im_start|>').length;
    const ends = ids.filter((id) => tokenizer.text(id) === '<|im_end|>').length;
    expect([starts, ends]).toEqual([7, 6]);
    expect(ids.some((id) => tokenizer.text(id) === '<repo_name>')).toBe(false);
  });
});
