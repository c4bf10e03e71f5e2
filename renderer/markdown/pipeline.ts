import type { Options } from 'react-markdown';
import rehypeHighlight from 'rehype-highlight';
import rehypeKatex from 'rehype-katex';
import remarkBreaks from 'remark-breaks';
import remarkGfm from 'remark-gfm';
import type { PluggableList } from 'unified';
import { remarkChatMath } from './mathSyntax';
import { remarkHtmlAsText } from './remarkHtmlAsText';

/*
 * The one way from a model's text to elements, for replies that stream and for history alike. Text is untrusted: HTML
 * becomes visible text, URLs pass `safeUrl`, images are never fetched (components.tsx), and
 * KaTeX runs without `trust`, with its macros' expansion bounded.
 */
export const remarkPlugins: PluggableList = [
  [remarkGfm, { singleTilde: false }],
  remarkChatMath,
  remarkBreaks, // models end the lines of a poem or an address with a plain newline
  remarkHtmlAsText,
];

const katex: PluggableList[number] = [
  rehypeKatex,
  { strict: 'ignore', trust: false, maxExpand: 200, maxSize: 40, errorColor: 'currentColor' },
];

export const rehypePlugins: PluggableList = [
  katex,
  [rehypeHighlight, { detect: false, plainText: ['text', 'txt', 'plain'] }],
];
/** For a long code block that is still growing: colouring it again in each frame would cost more than it shows. */
export const rehypePluginsPlain: PluggableList = [katex];

/** Only web addresses and footnote anchors survive; anything else (javascript:, data:, file:, relative) becomes ''. */
export const safeUrl: NonNullable<Options['urlTransform']> = (url) => {
  if (/^#[\w-]+$/.test(url)) return url;
  try {
    const { protocol, href } = new URL(url);
    return protocol === 'https:' || protocol === 'http:' ? href : '';
  } catch {
    return '';
  }
};
