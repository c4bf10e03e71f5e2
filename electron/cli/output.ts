import { HunchError } from '../contract/errors';

/** Results go to stdout, everything about the way there to stderr, so that output can be piped. */
export const print = (text: string): void => void process.stdout.write(`${text}\n`);
export const note = (text: string): void => void process.stderr.write(`${text}\n`);
export const printJson = (value: unknown): void => print(JSON.stringify(value, null, 2));

/** A line on stderr that is written over while something goes on; only for people, not for logs. */
export function progressLine(): { show: (text: string) => void; end: () => void } {
  let shown = '';
  return {
    show: (text) => {
      if (!process.stderr.isTTY || text === shown) return;
      process.stderr.write(`\r\x1b[2K${text}`);
      shown = text;
    },
    end: () => {
      if (shown !== '') process.stderr.write('\r\x1b[2K');
      shown = '';
    },
  };
}

/** Ends the command: the sentence on stderr, with --json also the error as the one object on stdout. */
export function fail(error: unknown, json: boolean): void {
  const known = error instanceof HunchError;
  const body = known
    ? { code: error.code, message: error.message }
    : { code: 'internal', message: `Hunch failed in an unexpected way: ${(error as Error)?.message ?? String(error)}` };
  note(`hunch: ${body.message}`);
  if (!known && process.env['HUNCH_DEBUG']) note(String((error as Error)?.stack));
  if (json) printJson({ error: body });
  process.exitCode = known && error.code === 'cancelled' ? 130 : 1;
}

export const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
