import type { Element } from 'hast';
import type { ReactNode } from 'react';
import { CopyButton } from '../components/CopyButton';
import { hastText } from './hastText';
import css from './Markdown.module.css';

/** The language named on the fence, from `class="language-…"`. */
function languageOf(pre: Element | undefined): string {
  const code = pre?.children.find((child): child is Element => child.type === 'element' && child.tagName === 'code');
  const classes = code?.properties.className;
  if (!Array.isArray(classes)) return '';
  const named = classes.map(String).find((name) => name.startsWith('language-'));
  return named?.slice('language-'.length) ?? '';
}

export function CodeBlock({ node, children }: { node: Element | undefined; children: ReactNode }) {
  const language = languageOf(node);
  return (
    <div className={css.code}>
      <div className={css.codeHead}>
        <span>{language || 'text'}</span>
        <CopyButton label="Copy code" getText={() => (node ? hastText(node).replace(/\n$/, '') : '')} />
      </div>
      <pre tabIndex={0} aria-label={language ? `${language} code` : 'Code'}>
        {children}
      </pre>
    </div>
  );
}
