import type { Source } from './source';
import { canMiss } from './states';

/** A cell that a spreadsheet takes as text, whatever is in it. */
export function csvCell(value: string | number): string {
  if (typeof value === 'number') return Number.isFinite(value) ? String(value) : '';
  const harmless = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(harmless) ? `"${harmless.replace(/"/g, '""')}"` : harmless;
}

const columns = [
  ...['token', 'id', 'text', 'position', 'audit', 'layer', 'route', 'predicted', 'computed', 'active', 'missed'],
  ...['neurons', 'heads_computed', 'heads', 'microseconds', 'bytes', 'dense_bytes'],
];

/** One line for each layer of each token whose frame is here; before it the provenance as comments. */
export function writeCsv({ track, provenance, label }: Source): Uint8Array {
  const comments = [
    `# ${label}`,
    ...(provenance
      ? [
          `# model ${provenance.modelName}, sha256 ${provenance.modelHash}`,
          `# seed ${provenance.seed}, sparsity ${provenance.sparsity}, Hunch ${provenance.version}`,
          `# edits ${JSON.stringify(provenance.edits)}`,
        ]
      : []),
  ].map((line) => line.replace(/[\r\n]+/g, ' '));
  const lines = [...comments, columns.join(',')];
  for (let i = 0; i < track.length; i++) {
    const frame = track.bytes(i) ? track.frame(i) : null;
    if (!frame) continue;
    const { id, text } = track.tokens[i]!;
    frame.layers.forEach((layer, number) => {
      const missed = frame.audit && canMiss(layer) ? layer.missed : '';
      const cells = [
        ...[i, id, text, frame.position, frame.audit ? 1 : 0, number, layer.route, layer.named, layer.computed],
        ...[layer.active, missed, frame.neurons, layer.headsComputed, frame.heads],
        ...[layer.microseconds, layer.bytes, layer.denseBytes],
      ];
      lines.push(cells.map(csvCell).join(','));
    });
  }
  return new TextEncoder().encode(`${lines.join('\n')}\n`);
}
