import { useCallback, useEffect, useRef, useState } from 'react';

const pauseMs = 400;

/**
 * A value edited now and saved after a pause, on `flush`, or when the component goes away. Returns the edit not yet
 * saved (null if none), the setter and `flush`.
 */
export function useDebouncedSave<T extends object>(
  save: (value: T) => void,
): [T | null, (value: T) => void, () => void] {
  const [edited, setEdited] = useState<T | null>(null);
  const pending = useRef<T | null>(null);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const saveNow = useRef(save);
  useEffect(() => {
    saveNow.current = save;
  });

  const flush = useCallback((): void => {
    clearTimeout(timer.current);
    const value = pending.current;
    pending.current = null;
    if (value === null) return;
    saveNow.current(value);
    setEdited(null);
  }, []);
  const edit = useCallback(
    (value: T): void => {
      pending.current = value;
      setEdited(value);
      clearTimeout(timer.current);
      timer.current = setTimeout(flush, pauseMs);
    },
    [flush],
  );
  useEffect(() => flush, [flush]);
  return [edited, edit, flush];
}
