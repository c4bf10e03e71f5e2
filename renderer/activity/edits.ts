import type { Edit } from '../../electron/contract/activity';

/** 'layer 12 neuron 345', 'L12 head 3', '12 n 345'; null where it is none. Numbers as the panel shows them, from 0. */
export function parsePlace(text: string): Pick<Edit, 'kind' | 'layer' | 'index'> | null {
  const found = /^\s*(?:layer|l)?\s*(\d{1,4})\s*[,;:/]?\s*(neuron|n|head|h)\s*(\d{1,8})\s*$/i.exec(text);
  if (!found) return null;
  const kind = found[2]!.toLowerCase().startsWith('h') ? 'head' : 'neuron';
  return { kind, layer: Number(found[1]), index: Number(found[3]) };
}

export const placeWords = ({ kind, layer, index }: Pick<Edit, 'kind' | 'layer' | 'index'>): string =>
  `layer ${layer} ${kind} ${index}`;

export function editWords(edit: Edit): string {
  const place = placeWords(edit);
  if (edit.action === 'off') return `${place} off`;
  return edit.action === 'clamp'
    ? `${place} at most ±${formatValue(Math.abs(edit.value))}`
    : `${place} forced to ${formatValue(edit.value)}`;
}

const formatValue = (value: number): string => String(Number(value.toPrecision(4))).replace('-', '−');

/** One edit a place: the newer one counts. */
export function withEdit(edits: readonly Edit[], edit: Edit): Edit[] {
  const others = edits.filter(
    ({ kind, layer, index }) => kind !== edit.kind || layer !== edit.layer || index !== edit.index,
  );
  return [...others, edit];
}
