/** Sends what is pushed at once, then at most once per `pauseMs`, always the last value; `flush` sends what waits. */
export function paced<T>(
  send: (value: T) => Promise<void>,
  pauseMs: number,
): { push: (value: T) => void; flush: () => Promise<void> } {
  let waiting: { value: T } | null = null;
  let pause: ReturnType<typeof setTimeout> | undefined;
  let sent: Promise<void> = Promise.resolve();

  const flush = (): Promise<void> => {
    clearTimeout(pause);
    pause = undefined;
    if (waiting) {
      const { value } = waiting;
      waiting = null;
      pause = setTimeout(() => void flush(), pauseMs);
      sent = send(value);
    }
    return sent;
  };
  return {
    flush,
    push: (value) => {
      waiting = { value };
      if (pause === undefined) void flush();
    },
  };
}
