import { useEffect, useLayoutEffect, useRef } from 'react';
import type { RefObject } from 'react';
import controls from './controls.module.css';
import css from './Conversation.module.css';

interface EarlierMessagesProps {
  count: number;
  scroller: RefObject<HTMLDivElement | null>;
  onShow: () => void;
}

/**
 * Stands for the messages above that are not rendered yet. They come as soon as it is nearly in view, without moving
 * what is being read.
 */
export function EarlierMessages({ count, scroller, onShow }: EarlierMessagesProps) {
  const button = useRef<HTMLButtonElement>(null);
  const fromBottom = useRef<number | null>(null);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (fromBottom.current !== null) element?.scrollTo({ top: element.scrollHeight - fromBottom.current });
    fromBottom.current = null;
  }, [count, scroller]);

  useEffect(() => {
    const target = button.current;
    const element = scroller.current;
    if (!target || !element) return;
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        fromBottom.current = element.scrollHeight - element.scrollTop;
        onShow();
      },
      { root: element, rootMargin: '400px 0px 0px 0px' },
    );
    observer.observe(target);
    return () => observer.disconnect();
  }, [count, scroller, onShow]);

  return (
    <button ref={button} type="button" className={`${controls.button} ${css.earlier}`} onClick={onShow}>
      Show {count} earlier {count === 1 ? 'message' : 'messages'}
    </button>
  );
}
