import { ImageOff } from 'lucide-react';
import { SafeLink } from './SafeLink';
import css from './Markdown.module.css';

/** In place of an image: fetching it would tell a stranger's server that this reply was read. */
export function SafeImage({ src, alt }: { src: string; alt: string }) {
  return (
    <span className={css.image}>
      <ImageOff size={14} aria-hidden />
      <span>{alt || 'Image'}</span>
      {src !== '' && <SafeLink href={src}>{src}</SafeLink>}
    </span>
  );
}
