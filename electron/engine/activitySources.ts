/** What the engine remembers of a reply or a run: which step wrote which token. */
export interface ActivitySource {
  prompt: Int32Array;
  /** Index in the message of the first token after `prompt`. */
  first: number;
  /** By index in the message; those before `first` are not known (-1). */
  ids: number[];
  /** The step whose logits the token was drawn from; -1: it was not captured. */
  sequences: number[];
}

const mostSources = 256;
/** Ids and sequence numbers of all sources together, some 16 MB. */
const mostNumbers = 2 ** 20;

/** Sources by a reply's or a run's id, within a bound; those that were written longest ago are forgotten first. */
export class ActivitySources {
  /** In the order in which they were begun. */
  private readonly sources = new Map<string, ActivitySource>();

  get(id: string): ActivitySource | undefined {
    return this.sources.get(id);
  }

  /** Newest first. */
  all(): ActivitySource[] {
    return [...this.sources.values()].reverse();
  }

  /** The source whose token `first` follows this prompt. A continued reply goes on in its old one where that ended there. */
  begin(id: string, prompt: Int32Array, first: number): ActivitySource {
    const before = this.sources.get(id);
    const goesOn = before !== undefined && first > 0 && before.ids.length === first;
    const unknown = (): number[] => new Array<number>(first).fill(-1);
    const source = goesOn ? before : { prompt, first, ids: unknown(), sequences: unknown() };
    this.sources.delete(id);
    this.sources.set(id, source);
    this.shrink();
    return source;
  }

  /** Called as sources grow. The newest one always stays. */
  shrink(): void {
    let numbers = 0;
    for (const { prompt, ids } of this.sources.values()) numbers += prompt.length + 2 * ids.length;
    for (const [id, { prompt, ids }] of this.sources) {
      if (this.sources.size <= 1 || (this.sources.size <= mostSources && numbers <= mostNumbers)) return;
      this.sources.delete(id);
      numbers -= prompt.length + 2 * ids.length;
    }
  }
}

/** Prompt and tokens up to `index`, the latter not included; null where not all of them are known. */
export function tokensBefore({ prompt, first, ids }: ActivitySource, index: number): Int32Array | null {
  if (index < first || index > ids.length) return null;
  const tokens = new Int32Array(prompt.length + index - first);
  tokens.set(prompt);
  tokens.set(ids.slice(first, index), prompt.length);
  return tokens;
}
