import type { Edit, ReplyActivity, Rerun } from '../../electron/contract/activity';
import { FrameTrack } from './track';

/** How the tokens of a source were made. */
export interface Provenance {
  modelName: string;
  modelHash: string;
  /** Place of the slider in words. */
  sparsity: string;
  seed: number;
  version: string;
  edits: readonly Edit[];
}

/** Something that can be looked at: a reply of the chat, a run, or what was imported. */
export interface Source {
  /** A message's id, a run's, or an imported file's. */
  id: string;
  kind: 'reply' | 'run' | 'imported';
  label: string;
  /** The reply that a run was made from; of a reply its own id; of an imported file null. */
  messageId: string | null;
  track: FrameTrack;
  provenance: Provenance | null;
  /** −ln p of each token, nats; null where it was not measured. */
  surprise: Float32Array | null;
  /** Decode only; null where unknown. */
  tokensPerSecond: number | null;
  /** Mean KL(dense ‖ this place), nats. */
  kl: number | null;
  text: string | null;
  /** Records of every neuron can be asked for. */
  records: boolean;
}

export const provenanceOf = (activity: ReplyActivity, edits: readonly Edit[]): Provenance => ({
  modelName: activity.modelName,
  modelHash: activity.modelHash,
  sparsity: activity.sparsity,
  seed: activity.seed,
  version: activity.version,
  edits,
});

export const replySource = (messageId: string, label: string): Source => ({
  id: messageId,
  kind: 'reply',
  label,
  messageId,
  track: new FrameTrack(true),
  provenance: null,
  surprise: null,
  tokensPerSecond: null,
  kl: null,
  text: null,
  records: true,
});

export function runSource(run: Rerun, label: string, messageId: string, edits: readonly Edit[]): Source {
  const track = new FrameTrack(false);
  track.put(0, run.activity.tokens, run.activity.frames);
  return {
    id: run.runId,
    kind: 'run',
    label,
    messageId,
    track,
    provenance: provenanceOf(run.activity, edits),
    surprise: run.surprise,
    tokensPerSecond: run.tokensPerSecond,
    kl: run.kl,
    text: run.text,
    records: true,
  };
}
