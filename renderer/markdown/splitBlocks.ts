import type { Nodes, Root } from 'mdast';
import remarkParse from 'remark-parse';
import { unified } from 'unified';
import { remarkPlugins } from './pipeline';

/** The parser of the rendering pipeline, so that both agree on where a block ends. */
const processor = unified().use(remarkParse).use(remarkPlugins);
const parse = (text: string): Root => processor.parse(text);

/** A text cut into top-level Markdown blocks. Immutable; `growBlocks` derives the next one. */
export interface Blocks {
  text: string;
  blocks: string[];
  /** How many of `blocks` (from the first) no further text can change, and where in `text` they end. */
  frozen: number;
  frozenEnd: number;
  /** Reference or footnote definitions act at a distance, so such a text stays one block. */
  whole: boolean;
}

export const noBlocks: Blocks = { text: '', blocks: [], frozen: 0, frozenEnd: 0, whole: false };

function hasDefinition(node: Nodes): boolean {
  if (node.type === 'definition' || node.type === 'footnoteDefinition') return true;
  return 'children' in node && node.children.some(hasDefinition);
}

/**
 * The blocks of `text`, reusing those of `previous` where `text` only appends to it: only what follows the frozen blocks
 * is parsed again. The last two blocks stay open, because one more character can join them ("1. a", "2" → one list).
 */
export function growBlocks(previous: Blocks, text: string): Blocks {
  if (text === previous.text) return previous;
  const grows = text.startsWith(previous.text);
  const base = grows ? previous : noBlocks;
  if (base.whole) return { ...base, text, blocks: [text] };

  const tail = text.slice(base.frozenEnd);
  const root = parse(tail);
  if (hasDefinition(root)) return { text, blocks: [text], frozen: 0, frozenEnd: 0, whole: true };

  // A block reaches from the start of its first line to the start of the next block's.
  const starts = root.children.map((node) => {
    const offset = node.position?.start.offset ?? 0;
    return tail.lastIndexOf('\n', offset - 1) + 1;
  });
  const pieces = starts.map((start, i) => tail.slice(start, starts[i + 1]).replace(/\s+$/, ''));
  const freezing = Math.max(0, pieces.length - 2);
  return {
    text,
    blocks: [...base.blocks.slice(0, base.frozen), ...pieces],
    frozen: base.frozen + freezing,
    frozenEnd: base.frozenEnd + (freezing > 0 ? (starts[freezing] ?? 0) : 0),
    whole: false,
  };
}
