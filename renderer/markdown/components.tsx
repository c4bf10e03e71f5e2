import type { Components } from 'react-markdown';
import { CodeBlock } from './CodeBlock';
import { SafeImage } from './SafeImage';
import { SafeLink } from './SafeLink';
import css from './Markdown.module.css';

/** How Markdown's elements look; whatever is not named here is plain HTML styled by Markdown.module.css. */
export const components: Components = {
  a: ({ href, children }) => <SafeLink href={href}>{children}</SafeLink>,
  img: ({ src, alt }) => <SafeImage src={typeof src === 'string' ? src : ''} alt={alt ?? ''} />,
  pre: ({ node, children }) => <CodeBlock node={node}>{children}</CodeBlock>,
  // Wide tables scroll inside the reply; the keyboard can scroll what it can focus.
  table: ({ children }) => (
    <div className={css.tableScroll} role="region" aria-label="Table" tabIndex={0}>
      <table>{children}</table>
    </div>
  ),
  input: ({ checked }) => (
    <input type="checkbox" aria-label={checked ? 'Done' : 'To do'} checked={checked ?? false} readOnly disabled />
  ),
};
