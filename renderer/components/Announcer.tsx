import { useStore } from '../store/store';

/** Speaks what the eye sees anyway: a reply's start and end, a copy. Never single tokens. */
export function Announcer() {
  const { text, n } = useStore((s) => s.announcement);
  return (
    <div role="status" aria-live="polite" className="visually-hidden">
      {/* The key makes a repeated sentence a new node, which is what gets read. */}
      <span key={n}>{text}</span>
    </div>
  );
}
