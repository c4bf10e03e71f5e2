import { useEffect, useState } from 'react';
import type { Residency } from '../../../electron/contract/devices';
import { addCost, noCost, type Cost } from '../../activity/residency';
import { api } from '../../api';
import { lessMotion } from '../../lib/motion';
import { useStore } from '../../store/store';

export interface Looks {
  last: Residency;
  /** Since the first look at this model. */
  all: Cost;
}

/** While a reply is written. */
const lookEveryMs = 500;
/** Where the person asked for less motion. */
const calmLookMs = 1000;

/** Where the loaded model's neurons lie: undefined until the first answer, null without a model. Asks again only while a reply is written. */
export function useResidency(): Looks | null | undefined {
  const model = useStore((s) => (s.engine?.state === 'ready' ? s.engine.modelId : null));
  const writing = useStore((s) => Object.keys(s.live).length > 0);
  const [seen, setSeen] = useState<{ model: string | null; looks: Looks | null }>();
  useEffect(() => {
    let over = false;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const look = async (): Promise<void> => {
      try {
        const last = await api.activity.residency();
        if (over) return;
        setSeen((before) => {
          // The first look tells of the time before it.
          const all = before?.model === model && before.looks ? addCost(before.looks.all, last ?? noCost) : noCost;
          return { model, looks: last && { last, all } };
        });
      } catch (error) {
        if (!over) useStore.getState().report(error);
      }
      if (!over && writing) timer = setTimeout(() => void look(), lessMotion() ? calmLookMs : lookEveryMs);
    };
    void look();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [model, writing]);
  return seen?.model === model ? seen.looks : undefined;
}
