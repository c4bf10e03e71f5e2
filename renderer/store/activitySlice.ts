import type { Capture } from '../../electron/contract/activity';
import type { Message } from '../../electron/contract/entities';
import type { ReplyEvent } from '../../electron/contract/stream';
import type { BlockMeasure, HeadMeasure, NeuronMeasure } from '../activity/cells';
import { leastTokens, type SpeedSample } from '../activity/slowdown';
import { provenanceOf, replySource, type Source } from '../activity/source';
import { api } from '../api';
import { keptBytes } from '../activity/track';
import type { ScaleName } from '../canvas/palette';
import { lessMotion } from '../lib/motion';
import type { Slice } from './store';

export const viewNames = [
  ...(['blocks', 'heads', 'model', 'layer', 'time'] as const),
  ...(['layers', 'residency', 'neurons', 'lens', 'compare', 'intervene'] as const),
] as const;
export type ViewName = (typeof viewNames)[number];

export type StripMeasure = 'bytes' | 'missed' | 'surprise' | 'milliseconds' | 'active';

/** What is looked at closely. `neuron` counts within its layer. */
export interface Spot {
  layer: number;
  neuron: number;
  head: number;
}

export interface ActivityLook {
  view: ViewName;
  blockMeasure: BlockMeasure;
  headMeasure: HeadMeasure;
  neuronMeasure: NeuronMeasure;
  stripMeasure: StripMeasure;
  scale: ScaleName;
  /** The numbers as a table in place of the picture. */
  table: boolean;
  /** What the view over time shows. */
  over: 'neuron' | 'head';
}

export interface ActivitySlice {
  activityOpen: boolean;
  /** The panel takes the conversation's place. */
  activityFull: boolean;
  /** Share of the height below the header. */
  activityShare: number;
  /** What is captured while the panel is open. */
  capture: Capture;
  sources: Record<string, Source>;
  /** Counts up when tokens come or sources change inside. */
  sourceTick: number;
  sourceId: string | null;
  token: number;
  following: boolean;
  look: ActivityLook;
  spot: Spot;
  speeds: SpeedSample[];
  toggleActivity: () => void;
  setActivityFull: (full: boolean) => void;
  setActivityShare: (share: number) => void;
  setCapture: (patch: Partial<Capture>) => void;
  /** Tells the engine again, after it was restarted. */
  sendCapture: () => void;
  setLook: (patch: Partial<ActivityLook>) => void;
  setSpot: (patch: Partial<Spot>) => void;
  /** Looks at a source; a reply that is not here is loaded. */
  lookAt: (sourceId: string, token?: number) => Promise<void>;
  /** Loads a reply that is not here, without looking at it. */
  ensureSource: (messageId: string) => Promise<void>;
  addSource: (source: Source) => void;
  moveToken: (token: number) => void;
  follow: () => void;
  /** Gets back the frames around a token that were let go. */
  fetchAround: (sourceId: string, token: number) => Promise<void>;
  /** Asks anew how a reply was made: the hash of its model comes a while after its end. */
  withProvenance: (source: Source) => Promise<Source>;
  /** All frames of a source, fetched where they were let go. */
  framesOf: (sourceId: string) => Promise<(Uint8Array | null)[]>;
  beginFrames: (message: Message) => void;
  receiveFrames: (messageId: string, event: Extract<ReplyEvent, { type: 'frames' }>) => void;
  endFrames: (message: Message) => void;
}

/** Frames in one answer of the main process. */
const chunk = 256;
/** The picture changes eight times a second at most; what lies between fades. The engine needs the processor more. */
const tickMs = 120;
/** Where the person asked for less motion. */
const calmTickMs = 1000;

export const labelOf = (message: Pick<Message, 'text'> | undefined): string => {
  const line = message?.text.trim().split('\n')[0] ?? '';
  return line === '' ? 'Reply' : `Reply: ${line.length > 48 ? `${line.slice(0, 47)}…` : line}`;
};

export const createActivitySlice: Slice<ActivitySlice> = (set, get) => {
  /** Where the tokens of a run begin in its message: a reply that is continued starts to count anew. */
  const bases = new Map<string, number>();
  const modes = new Map<string, Capture['mode'] | 'mixed'>();
  const loading = new Map<string, Promise<void>>();
  let ticking = false;

  /** Tokens of the source that is looked at. */
  const lengthNow = (): number => {
    const { sourceId, sources } = get();
    return (sourceId === null ? undefined : sources[sourceId])?.track.length ?? 0;
  };
  /** A source that went away meanwhile stays away. */
  const change = (id: string, patch: Partial<Source>): void =>
    set((s) => (s.sources[id] ? { sources: { ...s.sources, [id]: { ...s.sources[id], ...patch } } } : {}));

  /** All replies together hold no more frames than one may: those of replies that nobody looks at come back when somebody does. */
  const letGo = (besides: string): void => {
    const { sources, sourceId, compareId, live } = get();
    const others = Object.values(sources).filter(
      ({ id }) => id !== besides && id !== sourceId && id !== compareId && !live[id],
    );
    let held = Object.values(sources).reduce((sum, { track }) => sum + (track.fetchable ? track.bytesHeld : 0), 0);
    for (const { track } of others) {
      if (held <= keptBytes) return;
      held -= track.letGo();
    }
  };

  const tick = (): void => {
    if (ticking) return;
    ticking = true;
    setTimeout(
      () => {
        ticking = false;
        set((s) => {
          const last = lengthNow() - 1;
          return { sourceTick: s.sourceTick + 1, ...(s.following && last >= 0 ? { token: last } : {}) };
        });
      },
      lessMotion() ? calmTickMs : tickMs,
    );
  };

  const current = (): Capture => (get().activityOpen ? get().capture : { mode: 'off', auditEvery: 0 });
  const watch = (): void => {
    for (const id of modes.keys()) modes.set(id, 'mixed');
    api.activity.watch(current()).catch(get().report);
  };

  /** Chunk by chunk, so that a long reply holds up nothing. */
  const load = async (messageId: string): Promise<void> => {
    const { track } = get().sources[messageId]!;
    for (let from = 0, total = 1; from < total; from += chunk) {
      const part = await api.activity.reply({ messageId, from, count: chunk });
      total = part.total;
      change(messageId, { provenance: provenanceOf(part, []) });
      track.put(from, part.tokens, part.frames);
      tick();
      if (part.tokens.length === 0) break;
    }
  };

  const loadOnce = (messageId: string): Promise<void> => {
    const running = loading.get(messageId);
    if (running) return running;
    const promise = load(messageId).finally(() => loading.delete(messageId));
    loading.set(messageId, promise);
    return promise;
  };

  return {
    activityOpen: false,
    activityFull: false,
    activityShare: 0.62,
    capture: { mode: 'summary', auditEvery: 16 },
    sources: {},
    sourceTick: 0,
    sourceId: null,
    token: 0,
    following: true,
    look: {
      view: 'blocks',
      blockMeasure: 'active',
      headMeasure: 'norm',
      neuronMeasure: 'state',
      stripMeasure: 'bytes',
      scale: 'viridis',
      table: false,
      over: 'neuron',
    },
    spot: { layer: 0, neuron: 0, head: 0 },
    speeds: [],

    toggleActivity: () => {
      const activityOpen = !get().activityOpen;
      const auditEvery = get().settings?.activityAuditEvery;
      set((s) => ({ activityOpen, capture: { ...s.capture, ...(auditEvery === undefined ? {} : { auditEvery }) } }));
      watch();
      // Where the focus was is gone with the panel.
      if (!activityOpen) get().wishFocus('composer');
      get().announce(activityOpen ? 'Activations shown.' : 'Activations hidden.');
    },
    setActivityFull: (activityFull) => set({ activityFull }),
    setActivityShare: (share) => set({ activityShare: Math.min(0.85, Math.max(0.25, share)) }),
    setCapture: (patch) => {
      set((s) => ({ capture: { ...s.capture, ...patch } }));
      if (patch.auditEvery !== undefined) void get().setSettings({ activityAuditEvery: patch.auditEvery });
      if (get().activityOpen) watch();
    },
    sendCapture: () => {
      if (get().activityOpen) watch();
    },
    setLook: (patch) => set((s) => ({ look: { ...s.look, ...patch } })),
    setSpot: (patch) => set((s) => ({ spot: { ...s.spot, ...patch } })),

    lookAt: async (sourceId, token) => {
      const known = get().sources[sourceId];
      const last = Math.max(0, (known?.track.length ?? 0) - 1);
      set({ sourceId, token: token ?? last, following: token === undefined });
      await get().ensureSource(sourceId);
    },

    ensureSource: async (sourceId) => {
      const { sources, messages, live } = get();
      if (!sources[sourceId]) get().addSource(replySource(sourceId, labelOf(messages[sourceId])));
      const source = get().sources[sourceId]!;
      if (source.kind !== 'reply' || live[sourceId] || source.track.length > 0) return;
      try {
        await loadOnce(sourceId);
      } catch (error) {
        get().report(error);
      }
    },

    addSource: (source) => {
      letGo(source.id);
      set((s) => ({ sources: { ...s.sources, [source.id]: source }, sourceTick: s.sourceTick + 1 }));
    },

    moveToken: (token) => {
      set({ token: Math.max(0, Math.min(lengthNow() - 1, token)), following: false });
    },

    follow: () => set({ following: true, token: Math.max(0, lengthNow() - 1) }),

    fetchAround: async (sourceId, token) => {
      const source = get().sources[sourceId];
      if (source?.kind !== 'reply' || source.track.bytes(token) !== undefined) return;
      const from = Math.max(0, Math.floor(token / 64) * 64);
      const key = `${sourceId} ${from}`;
      if (loading.has(key)) return loading.get(key);
      const promise = api.activity
        .reply({ messageId: sourceId, from, count: 64 })
        .then((part) => {
          source.track.put(part.from, part.tokens, part.frames);
          tick();
        }, get().report)
        .finally(() => loading.delete(key));
      loading.set(key, promise);
      return promise;
    },

    withProvenance: async (source) => {
      if (source.kind !== 'reply' || source.provenance?.modelHash) return source;
      const about = await api.activity.reply({ messageId: source.id, from: 0, count: 0 });
      const provenance = provenanceOf(about, []);
      change(source.id, { provenance });
      return { ...(get().sources[source.id] ?? source), provenance };
    },

    framesOf: async (sourceId) => {
      const source = get().sources[sourceId];
      if (!source) return [];
      const { track } = source;
      const frames: (Uint8Array | null)[] = [];
      for (let i = 0; i < track.length; i++) {
        const bytes = track.bytes(i);
        if (bytes !== undefined || source.kind !== 'reply') {
          frames.push(bytes ?? null);
          continue;
        }
        // Not put back into the track, which would let go of others.
        const part = await api.activity.reply({
          messageId: sourceId,
          from: i,
          count: Math.min(chunk, track.length - i),
        });
        if (part.frames.length === 0) frames.push(null);
        frames.push(...part.frames);
        i = frames.length - 1;
      }
      return frames;
    },

    beginFrames: (message) => {
      modes.set(message.id, current().mode);
      const known = get().sources[message.id];
      // Of a continued reply that is not here nobody knows yet where it goes on: it is loaded when it is done.
      const base = message.text === '' ? 0 : known && !loading.has(message.id) ? known.track.length : null;
      if (base === null) bases.delete(message.id);
      else bases.set(message.id, base);
      if (message.text === '' && known) {
        set((s) => ({ sources: { ...s.sources, [message.id]: replySource(message.id, labelOf(message)) } }));
      }
    },

    receiveFrames: (messageId, { from, tokens, frames }) => {
      const base = bases.get(messageId);
      if (base === undefined) return;
      if (!get().sources[messageId]) get().addSource(replySource(messageId, 'Reply'));
      get().sources[messageId]!.track.put(base + from, tokens, frames);
      tick();
    },

    endFrames: (message) => {
      const { id, chatId, stats, provenance } = message;
      const mode = modes.get(id);
      modes.delete(id);
      bases.delete(id);
      if (mode && mode !== 'mixed' && stats && provenance && stats.generatedTokens >= leastTokens) {
        const made = `${provenance.modelId} ${provenance.sparsity}`;
        const sample: SpeedSample = { chatId, mode, made, tokensPerSecond: stats.tokensPerSecond };
        set((s) => ({ speeds: [...s.speeds, sample].slice(-400) }));
      }
      if (!get().sources[id]) return;
      change(id, { label: labelOf(message), tokensPerSecond: stats?.tokensPerSecond ?? null, text: message.text });
      // What the database has is the whole reply, with what came before the panel was opened.
      api.activity
        .reply({ messageId: id, from: 0, count: 0 })
        .then((about) => {
          const now = get().sources[id];
          if (!now) return undefined;
          change(id, { provenance: provenanceOf(about, []) });
          const gaps = now.track.tokens.some((token) => token.id === -1);
          return gaps || now.track.length < about.total ? loadOnce(id) : undefined;
        })
        .catch(get().report);
    },
  };
};
