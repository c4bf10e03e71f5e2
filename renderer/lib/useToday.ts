import { useEffect, useState } from 'react';

const checkMs = 60_000;

/** The current day (as ms of some moment in it); changes after midnight, so that 'Today' does not grow old. */
export function useToday(): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => {
      setNow((before) => (new Date(before).toDateString() === new Date().toDateString() ? before : Date.now()));
    }, checkMs);
    return () => clearInterval(timer);
  }, []);
  return now;
}
