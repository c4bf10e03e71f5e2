import type { Source } from './source';

/** A source in a list: what kind it is, and how it was made. */
export function placeWordsOfSource({ kind, label, provenance }: Source): string {
  const made = provenance?.sparsity ? ` (${provenance.sparsity})` : '';
  if (kind === 'imported') return `Imported: ${label}${made}`;
  return kind === 'run' ? `Run: ${label}${made}` : `${label}${made}`;
}
