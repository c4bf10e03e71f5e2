import { HunchError } from '../contract/errors';

/** What the owner of a broken pack can do. */
export const remakePack = 'Calibrate the model again to replace the pack, or remove it.';
/** The same where the file may come from someone else's tools. */
export const exportAgain = 'Calibrate the model again, or export the file as docs/packs.md shows.';

/** What: a clause without a full stop that starts with a file's name or 'it', so that it also stands after a colon. */
export function packInvalid(what: string, remedy: string = remakePack, cause?: unknown): HunchError {
  return new HunchError('pack-invalid', `${what}. ${remedy}`, cause === undefined ? undefined : { cause });
}

/** Text out of a stranger's file, for a sentence: on one line, and short. */
export function quote(text: string, longest = 80): string {
  const clean = text.replace(/[\x00-\x1f\x7f]/g, ' ');
  return clean.length > longest ? `${clean.slice(0, longest)}…` : clean;
}
