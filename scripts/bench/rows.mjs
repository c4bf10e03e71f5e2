/** Median with the smallest and largest; null without values. */
export function summarise(values) {
  if (values.length === 0) return null;
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  return { median, min: sorted[0], max: sorted[sorted.length - 1], values };
}

/**
 * A line of the report. `ours` and `theirs` are the repetitions' values in order; ours[i] and theirs[i] ran one after
 * the other. `ratio` = our median / theirs; for times (`better: 'lower'`) below 1 is faster.
 */
export function makeRow({ label, metric, unit, better = 'higher', peer, ours, theirs, reason, ...more }) {
  const [own, other] = [summarise(ours), summarise(theirs)];
  const pairs = ours.flatMap((value, index) => (theirs[index] === undefined ? [] : [value / theirs[index]]));
  const spread = summarise(pairs);
  return {
    ...{ label, metric, unit, better, peer },
    ratio: own && other ? own.median / other.median : null,
    ratioMin: spread?.min ?? null,
    ratioMax: spread?.max ?? null,
    ...{ ours: own, theirs: other },
    ...(reason ? { reason } : {}),
    ...more,
  };
}

/** What decode reached of what the machine reads with as many threads from as many bytes. */
export function bandwidth(tokensPerSecond, { weightBytesPerToken, readGBps }) {
  const own = summarise(tokensPerSecond);
  const read = summarise(readGBps);
  if (!own || !read) return {};
  const ourGBps = (own.median * weightBytesPerToken) / 1e9;
  return { weightBytesPerToken, ourGBps, readGBps: read.median, readShare: ourGBps / read.median };
}

const number = (value) => (value >= 1000 ? value.toFixed(0) : value >= 100 ? value.toFixed(1) : value.toFixed(2));
const range = (part) => (part ? `${number(part.median)} (${number(part.min)}–${number(part.max)})` : '–');

/** The rows as text, columns padded. */
export function table(rows) {
  const head = ['', 'Hunch', 'peer', 'ratio', 'GB/s', 'read', 'share'];
  const lines = rows.map((row) => [
    `${row.label} ${row.metric}${row.unit === 'ms' ? ' (ms)' : ''}`,
    range(row.ours),
    row.theirs ? `${range(row.theirs)} ${row.peer}` : `– (${row.reason})`,
    row.ratio === null ? '–' : `${row.ratio.toFixed(2)} (${row.ratioMin.toFixed(2)}–${row.ratioMax.toFixed(2)})`,
    row.ourGBps === undefined ? '' : row.ourGBps.toFixed(1),
    row.readGBps === undefined ? '' : row.readGBps.toFixed(1),
    row.readShare === undefined ? '' : `${(100 * row.readShare).toFixed(0)} %`,
  ]);
  const widths = head.map((_, column) => Math.max(...[head, ...lines].map((line) => line[column].length)));
  const padded = (line) =>
    line
      .map((cell, column) => cell.padEnd(widths[column]))
      .join('  ')
      .trimEnd();
  return [padded(head), ...lines.map(padded)].join('\n');
}
