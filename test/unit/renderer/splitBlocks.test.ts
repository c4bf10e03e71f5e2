import { describe, expect, it } from 'vitest';
import { growBlocks, noBlocks } from '../../../renderer/markdown/splitBlocks';
import type { Blocks } from '../../../renderer/markdown/splitBlocks';

const blocksOf = (text: string): string[] => growBlocks(noBlocks, text).blocks;

/** Feeds `text` in pieces of `size` characters, as tokens come. */
function stream(text: string, size: number): { states: Blocks[]; last: Blocks } {
  let state = noBlocks;
  const states: Blocks[] = [];
  for (let end = size; end < text.length + size; end += size) {
    state = growBlocks(state, text.slice(0, end));
    states.push(state);
  }
  return { states, last: state };
}

const article = `# Title

A paragraph
of two lines.

1. one

2. two
   - nested

     with a paragraph

> quote
>
> goes on

| a | b |
| - | - |
| 1 | 2 |

\`\`\`python
def f():

    # a blank line above does not end the fence
    return "## not a heading"
\`\`\`

    indented code

    goes on

$$
x = 1
+ y
$$

\\[ a
- b
\\]

Setext
======

<div>

raw

</div>

Last one.`;

describe('splitBlocks', () => {
  it('cuts at top-level blocks only', () => {
    expect(blocksOf('# T\n\npara\nline\n\n- a\n\n- b\n\n```\nx\n\ny\n```\nend')).toEqual([
      '# T',
      'para\nline',
      '- a\n\n- b',
      '```\nx\n\ny\n```',
      'end',
    ]);
  });

  it('keeps the indentation of indented code', () => {
    expect(blocksOf('text\n\n    code')).toEqual(['text', '    code']);
  });

  it.each([1, 2, 3, 7, 40])('ends with the blocks of the whole text when it comes in pieces of %i', (size) => {
    expect(stream(article, size).last.blocks).toEqual(blocksOf(article));
  });

  it('has the blocks of the whole prefix at every moment of the stream', () => {
    for (const { text, blocks } of stream(article, 1).states)
      expect(blocks, JSON.stringify(text)).toEqual(blocksOf(text));
  });

  it('never changes a frozen block', () => {
    const { states } = stream(article, 3);
    for (const [i, state] of states.entries()) {
      const before = states[i - 1];
      if (before) expect(state.blocks.slice(0, before.frozen)).toEqual(before.blocks.slice(0, before.frozen));
    }
    expect(states[states.length - 1]!.frozen).toBeGreaterThan(6);
  });

  it('joins a list that at first looked like a paragraph', () => {
    const state = growBlocks(growBlocks(noBlocks, '1. a\n\n2'), '1. a\n\n2. b');
    expect(state.blocks).toEqual(['1. a\n\n2. b']);
  });

  it('keeps a text with reference definitions in one piece, because they act at a distance', () => {
    const text = 'See [docs].\n\nMore.\n\n[docs]: https://example.com\n\nEnd.';
    expect(blocksOf(text)).toEqual([text]);
    expect(stream(text, 2).last.blocks).toEqual([text]);
    expect(blocksOf('A claim.[^1]\n\n[^1]: The source.')).toHaveLength(1);
    expect(blocksOf('```\n[docs]: https://example.com\n```\n\nEnd.')).toHaveLength(2);
  });

  it('starts again when the text does not grow but changes', () => {
    const state = growBlocks(growBlocks(noBlocks, article), 'Another\n\nversion');
    expect(state.blocks).toEqual(['Another', 'version']);
  });

  it('returns the same object for the same text', () => {
    const state = growBlocks(noBlocks, article);
    expect(growBlocks(state, article)).toBe(state);
  });
});
