/** The mark: an h in a grid of neurons, of which only the needed ones are lit. */
const lit = ['0,0', '0,1', '1,1', '2,1', '0,2', '2,2', '0,3', '2,3'];
const columns = [0, 1, 2];
const rows = [0, 1, 2, 3];

export function Mark({ size = 20 }: { size?: number }) {
  return (
    <svg width={(size * 3) / 4} height={size} viewBox="0 0 18 24" aria-hidden>
      {rows.flatMap((y) =>
        columns.map((x) => (
          <circle
            key={`${x},${y}`}
            cx={3 + x * 6}
            cy={3 + y * 6}
            r={2.35}
            fill="var(--accent)"
            opacity={lit.includes(`${x},${y}`) ? 1 : 0.22}
          />
        )),
      )}
    </svg>
  );
}
