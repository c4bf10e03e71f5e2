import { memo } from 'react';
import ReactMarkdown from 'react-markdown';
import { components } from './components';
import { rehypePlugins, rehypePluginsPlain, remarkPlugins, safeUrl } from './pipeline';

const longWhileGrowing = 6000; // characters

/** One top-level block. Equal text is never parsed or rendered again. */
export const MarkdownBlock = memo(function MarkdownBlock({ text, growing }: { text: string; growing: boolean }) {
  return (
    <ReactMarkdown
      remarkPlugins={remarkPlugins}
      rehypePlugins={growing && text.length > longWhileGrowing ? rehypePluginsPlain : rehypePlugins}
      urlTransform={safeUrl}
      components={components}
    >
      {text}
    </ReactMarkdown>
  );
});
