import { stopNames, stopPosition, type Sparsity } from '../contract/sparsity';

/** A place held for fewer tokens was passed on the way to another one. */
const passing = 8;
/** A longer way is told by its ends. */
const mostPlaces = 4;
const arrow = ' → ';

/** The places at which a reply was written, in order: what its provenance says of sparsity. */
export class SparsityTrail {
  private readonly places: { name: string; tokens: number }[];

  constructor(start: string) {
    this.places = [{ name: start, tokens: 0 }];
  }

  /** From the next token on. */
  move(name: string): void {
    const last = this.places[this.places.length - 1]!;
    if (last.name === name) return;
    if (last.tokens === 0) this.places.pop();
    this.places.push({ name, tokens: 0 });
  }

  wrote(tokens: number): void {
    this.places[this.places.length - 1]!.tokens += tokens;
  }

  /** 'balanced', 'balanced → fast', 'dense → exact → … → fastest'. */
  toString(): string {
    const written = this.places.filter(({ tokens }) => tokens > 0);
    const last = written.length - 1;
    const told = written.filter(({ tokens }, i) => i === 0 || i === last || tokens >= passing);
    return shorten(told.length > 0 ? told.map(({ name }) => name) : [this.places[this.places.length - 1]!.name]);
  }
}

/** The trail of a reply that was continued: `earlier` and `later` as told by `toString`. */
export function joinTrails(earlier: string, later: string): string {
  return shorten([...earlier.split(arrow), ...later.split(arrow)]);
}

/** Where a trail begins; a speculating reply's text is dense's, so there it is dense. */
export function placeOfTrail(trail: string): Sparsity {
  const [place = '', ...toggles] = (trail.split(arrow)[0] ?? '').split(' + ');
  const stop = stopNames.find((name) => name === place);
  const percent = /^(\d+) %$/.exec(place)?.[1];
  const position = stop ? stopPosition(stop) : percent ? Math.min(Number(percent) / 100, 1) : 0;
  if (toggles.includes('speculation')) return { position: 0, correction: false, speculation: false };
  return { position, correction: toggles.includes('correction'), speculation: false };
}

function shorten(names: string[]): string {
  const turns = names.filter((name, i) => name !== names[i - 1]);
  if (turns.length <= mostPlaces) return turns.join(arrow);
  return [turns[0], turns[1], '…', turns[turns.length - 1]].join(arrow);
}
