import { useEffect } from 'react';
import { useStore } from '../../store/store';

/** Looks at the newest reply of the branch that is shown, whenever there is a newer one. */
export function useLatestReply(): void {
  const latest = useStore((s) => {
    const branch = s.activeId === null ? undefined : s.branches[s.activeId];
    for (let i = (branch?.length ?? 0) - 1; i >= 0; i--) {
      if (s.messages[branch![i]!]?.role === 'assistant') return branch![i]!;
    }
    return null;
  });
  useEffect(() => {
    if (latest !== null) void useStore.getState().lookAt(latest);
  }, [latest]);
}
