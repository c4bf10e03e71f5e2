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
    const { lookAt, sourceId, sources } = useStore.getState();
    if (latest !== null) void lookAt(latest);
    // In an empty chat the reply of another one has no place; what was imported stays.
    else if (sourceId !== null && sources[sourceId]?.kind !== 'imported')
      useStore.setState({ sourceId: null, token: 0 });
  }, [latest]);
}
