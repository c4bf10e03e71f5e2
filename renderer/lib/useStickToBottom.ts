import { useCallback, useEffect, useLayoutEffect, useRef, useState } from 'react';

const slack = 48; // px: nearer than this counts as being at the bottom

/**
 * Keeps a growing list at its end while the person is there, and leaves them alone once they scroll up. A new message
 * (`count` grows) always goes to the end: it is the person's own doing.
 */
export function useStickToBottom(count: number) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const sticking = useRef(true);
  const [atBottom, setAtBottom] = useState(true);
  const loaded = count > 0;

  const toBottom = useCallback((): void => {
    const element = scroller.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, []);

  useLayoutEffect(() => {
    sticking.current = true;
    toBottom();
  }, [count, toBottom]);

  useEffect(() => {
    const element = scroller.current;
    const inner = content.current;
    if (!element || !inner) return;
    let lastTop = element.scrollTop;
    let lastHeight = element.scrollHeight;
    const onScroll = (): void => {
      const near = element.scrollHeight - element.scrollTop - element.clientHeight < slack;
      // Going up is the person's wish, unless the browser did it because messages above turned out shorter than estimated.
      const up = element.scrollTop < lastTop && element.scrollHeight >= lastHeight;
      if (near) sticking.current = true;
      else if (up) sticking.current = false;
      lastTop = element.scrollTop;
      lastHeight = element.scrollHeight;
      setAtBottom(near || sticking.current);
    };
    const observer = new ResizeObserver(() => {
      if (sticking.current) toBottom();
      else onScroll();
    });
    observer.observe(inner);
    observer.observe(element);
    element.addEventListener('scroll', onScroll, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', onScroll);
    };
  }, [loaded, toBottom]);

  const jump = useCallback((): void => {
    // At once: a smooth way down would pass messages whose height is only known when they come into view.
    sticking.current = true;
    toBottom();
    scroller.current?.focus({ preventScroll: true });
  }, [toBottom]);

  return { scroller, content, atBottom, jump };
}
