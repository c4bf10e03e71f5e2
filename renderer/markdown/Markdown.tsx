import { memo, useState } from 'react';
import { MarkdownBlock } from './MarkdownBlock';
import { growBlocks, noBlocks } from './splitBlocks';
import css from './Markdown.module.css';

/** A reply's text. While it grows, only the last blocks are parsed and rendered again. */
export const Markdown = memo(function Markdown({ text, growing = false }: { text: string; growing?: boolean }) {
  const [blocks, setBlocks] = useState(() => growBlocks(noBlocks, text));
  // Derived from the previous render's blocks: React's pattern for state that follows a prop.
  const current = growBlocks(blocks, text);
  if (current !== blocks) setBlocks(current);
  return (
    <div className={css.markdown}>
      {current.blocks.map((block, i) => (
        <MarkdownBlock key={i} text={block} growing={growing && i === current.blocks.length - 1} />
      ))}
    </div>
  );
});
