import type { ActivityToken } from '../contract/activity';
import { sequenceOf } from '../contract/frames';
import type { ActivitySource } from './activitySources';

/** Part of a run's tokens with their summaries, in order and without gaps from its first token on. */
export interface FramesProgress {
  type: 'frames';
  /** Index in the run. */
  from: number;
  tokens: ActivityToken[];
  frames: (Uint8Array | null)[];
  /** False: some frames are missing; the same tokens come again with theirs. */
  whole: boolean;
}

/**
 * Notes which step wrote which token of a run. Nothing is told while nothing is captured; what was passed over is told with the next
 * frames, so that indices stay those of the tokens.
 */
export class ActivityTrail {
  private told = 0;
  private written = 0;
  private readonly base: number;

  constructor(
    private readonly source: ActivitySource,
    private readonly textOf: (id: number) => string,
    /** What was written is more by so much. */
    private readonly onGrown: () => void,
  ) {
    this.base = source.ids.length;
  }

  /** `frames`: as the engine delivers them with `ids`; undefined while nothing is captured. */
  wrote(ids: readonly number[], frames: readonly (Uint8Array | null)[] | undefined): FramesProgress | null {
    for (const [i, id] of ids.entries()) {
      const frame = frames?.[i];
      this.source.ids.push(id);
      this.source.sequences.push(frame ? sequenceOf(frame) : -1);
    }
    this.written += ids.length;
    if (this.written % 1024 < ids.length) this.onGrown();
    if (!frames) return null;
    const from = this.told;
    this.told = this.written;
    const missed = this.written - ids.length - from;
    return {
      type: 'frames',
      from,
      tokens: this.source.ids.slice(this.base + from).map((id) => ({ id, text: this.textOf(id) })),
      frames: [...new Array<null>(missed).fill(null), ...frames],
      whole: true,
    };
  }
}
