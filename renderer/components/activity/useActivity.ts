import { useEffect } from 'react';
import type { NeuronRates } from '../../../electron/contract/activity';
import { decodeRecord, type RecordFrame, type SummaryFrame } from '../../../electron/contract/frames';
import type { Source } from '../../activity/source';
import { api } from '../../api';
import { Kept, useFetched, type Fetched } from '../../lib/useFetched';
import { useStore } from '../../store/store';

/** The source that is looked at; drawn again when tokens come. */
export function useSource(): Source | null {
  useStore((s) => s.sourceTick);
  return useStore((s) => (s.sourceId === null ? null : (s.sources[s.sourceId] ?? null)));
}

/** A token's frame: undefined while it is fetched, null where there is none. */
export function useFrame(source: Source | null, token: number): SummaryFrame | null | undefined {
  useStore((s) => s.sourceTick);
  const frame = source ? source.track.frame(token) : null;
  const missing = frame === undefined;
  const sourceId = source?.id;
  useEffect(() => {
    if (missing && sourceId !== undefined) void useStore.getState().fetchAround(sourceId, token);
  }, [missing, sourceId, token]);
  return frame;
}

const records = new Kept<RecordFrame | 'none'>(24);

/** Every neuron of a token; 'none' where the ring does not hold it. */
export function useRecord(source: Source | null, token: number): Fetched<RecordFrame | 'none'> {
  const imported = useStore((s) => (source ? s.importedRecords[source.id] : undefined));
  const has = source !== null && source.records && !Number.isNaN(source.track.figure('bytes', token));
  return useFetched(has ? `${source.id} ${token}` : null, records, async () => {
    const bytes =
      source!.kind === 'imported' ? (imported?.get(token) ?? null) : await api.activity.record(source!.id, token);
    return bytes ? decodeRecord(bytes) : 'none';
  });
}

/** The bytes of a record, for an export. */
export async function recordBytes(source: Source, token: number): Promise<Uint8Array | null> {
  if (!source.records) return null;
  if (source.kind === 'imported') return useStore.getState().importedRecords[source.id]?.get(token) ?? null;
  return api.activity.record(source.id, token);
}

const rates = new Kept<NeuronRates>(6);

/** Rates of a source's neurons, or (null) of the whole session; `version` asks anew when tokens have come. */
export const useRates = (sourceId: string | null, version: string | null): Fetched<NeuronRates> =>
  useFetched(version === null ? null : `${sourceId ?? 'session'} ${version}`, rates, () =>
    api.activity.rates(sourceId),
  );

/** Runs the looked-at reply again along its own tokens, noting every neuron, and looks at that. */
export async function analyse(messageId: string): Promise<void> {
  const { rerun, capture, lookAt, sourceId, sources, token } = useStore.getState();
  const label = 'Analysis';
  const request = { messageId, position: null, mode: 'follow', edits: [], maxTokens: null } as const;
  const run = await rerun({ ...request, edits: [], auditEvery: capture.auditEvery }, label);
  if (!run) return;
  const from = sourceId === null ? undefined : sources[sourceId];
  const at = from?.messageId === messageId && from.track.length > 0 ? Math.max(1, token) : 1;
  await lookAt(run.id, Math.min(at, run.track.length - 1));
}
