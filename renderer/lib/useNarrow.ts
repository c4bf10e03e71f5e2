import { useEffect } from 'react';
import { useStore } from '../store/store';

const query = '(max-width: 859px)';

/** Tells the store whether there is room for the sidebar and the panel beside the conversation. */
export function useNarrow(): void {
  useEffect(() => {
    const media = window.matchMedia(query);
    const update = (): void => useStore.getState().setNarrow(media.matches);
    update();
    media.addEventListener('change', update);
    return () => media.removeEventListener('change', update);
  }, []);
}
