import { useEffect, useState, useSyncExternalStore } from 'react';

/** Values by key, the least recently used going first. */
export class Kept<T> {
  private readonly map = new Map<string, T>();
  constructor(private readonly most: number) {}
  get(key: string): T | undefined {
    const value = this.map.get(key);
    if (value !== undefined) {
      this.map.delete(key);
      this.map.set(key, value);
    }
    return value;
  }
  set(key: string, value: T): void {
    this.map.delete(key);
    this.map.set(key, value);
    if (this.map.size > this.most) this.map.delete(this.map.keys().next().value!);
  }
  clear(): void {
    this.map.clear();
  }
}

interface Answer<T> {
  key: string;
  value?: T;
  error?: string;
}

/** One request at a time: keys that come meanwhile wait, and only the last of them is asked for. */
class Fetcher<T> {
  /** What came last, good or bad. */
  answer: Answer<T> | null = null;
  private busy = false;
  private wanted: { key: string; fetch: () => Promise<T> } | null = null;
  private readonly listeners = new Set<() => void>();

  constructor(private readonly kept: Kept<T>) {}

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };
  readonly snapshot = (): Answer<T> | null => this.answer;

  ask(key: string | null, fetch: () => Promise<T>): void {
    this.wanted = key === null || this.kept.get(key) !== undefined ? null : { key, fetch };
    this.pump();
  }

  private pump(): void {
    if (this.busy || !this.wanted) return;
    const { key, fetch } = this.wanted;
    this.wanted = null;
    this.busy = true;
    const done = (answer: Answer<T>): void => {
      this.busy = false;
      this.answer = answer;
      this.listeners.forEach((listener) => listener());
      this.pump();
    };
    fetch().then(
      (value) => {
        this.kept.set(key, value);
        done({ key, value });
      },
      (error: unknown) => done({ key, error: error instanceof Error ? error.message : String(error) }),
    );
  }
}

export interface Fetched<T> {
  /** Of `valueKey`, which is an older key while the next value is on its way. */
  value: T | undefined;
  valueKey: string | null;
  loading: boolean;
  error: string | null;
}

/** What `fetch` gives for a key, kept in `kept`. A null key asks for nothing. */
export function useFetched<T>(key: string | null, kept: Kept<T>, fetch: () => Promise<T>): Fetched<T> {
  const [fetcher] = useState(() => new Fetcher(kept));
  const answer = useSyncExternalStore(fetcher.subscribe, fetcher.snapshot);
  useEffect(() => {
    fetcher.ask(key, fetch);
    // The key says all that `fetch` depends on.
    // eslint-disable-next-line react-hooks/exhaustive-deps
  }, [key, fetcher]);

  const held = key === null ? undefined : kept.get(key);
  if (held !== undefined) return { value: held, valueKey: key, loading: false, error: null };
  const current = answer?.key === key;
  return {
    value: key === null ? undefined : answer?.value,
    valueKey: key === null || answer?.value === undefined ? null : answer.key,
    loading: key !== null && !current,
    error: current ? (answer.error ?? null) : null,
  };
}
