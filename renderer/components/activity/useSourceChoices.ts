import { useMemo } from 'react';
import type { Source } from '../../activity/source';
import { placeWordsOfSource } from '../../activity/sourceWords';
import { labelOf } from '../../store/activitySlice';
import { useStore } from '../../store/store';

/** Everything that can be looked at: what is here, and the other replies and versions of the chat that is shown. */
export function useSourceChoices(): (readonly [id: string, name: string])[] {
  const sources = useStore((s) => s.sources);
  const messages = useStore((s) => s.messages);
  const branch = useStore((s) => (s.activeId === null ? undefined : s.branches[s.activeId]));
  return useMemo(() => {
    const replies = (branch ?? []).filter((id) => messages[id]?.role === 'assistant');
    const ids = [...new Set(replies.flatMap((id) => messages[id]!.siblings))];
    const others = ids.filter((id) => !sources[id]);
    const version = (id: string): string => {
      const siblings = messages[replies.find((reply) => messages[reply]!.siblings.includes(id))!]!.siblings;
      const place = siblings.length > 1 ? ` (version ${siblings.indexOf(id) + 1} of ${siblings.length})` : '';
      return `${labelOf(messages[id])}${place}`;
    };
    return [
      ...Object.values(sources).map((source: Source) => [source.id, placeWordsOfSource(source)] as const),
      ...others.map((id) => [id, version(id)] as const),
    ];
  }, [sources, messages, branch]);
}
