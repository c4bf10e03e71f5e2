import type { ElementContent, Element } from 'hast';

/** The characters of an element, without its markup. */
export function hastText(node: Element | ElementContent): string {
  if (node.type === 'text') return node.value;
  return 'children' in node ? node.children.map(hastText).join('') : '';
}
