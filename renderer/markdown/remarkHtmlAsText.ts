import type { Root } from 'mdast';
import { SKIP, visit } from 'unist-util-visit';

const lineBreak = /^<br\s*\/?>$/i;
const holdsText = new Set([
  'paragraph',
  'heading',
  'emphasis',
  'strong',
  'delete',
  'link',
  'linkReference',
  'tableCell',
]);

/**
 * HTML in a reply is something to read, not something to run: a block of it becomes a code block, a tag within a
 * sentence its own characters. Only <br>, which models use in table cells, keeps its meaning.
 */
export function remarkHtmlAsText() {
  return (tree: Root): void => {
    visit(tree, 'html', (node, index, parent) => {
      if (!parent || index === undefined) return;
      const { value, position } = node;
      parent.children[index] = lineBreak.test(value)
        ? { type: 'break', position }
        : holdsText.has(parent.type)
          ? { type: 'text', value, position }
          : { type: 'code', lang: 'html', value, position };
      return SKIP;
    });
  };
}
