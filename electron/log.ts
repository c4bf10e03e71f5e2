import { appendFileSync, mkdirSync, renameSync, statSync } from 'node:fs';
import { dirname } from 'node:path';

const maxBytes = 1_000_000;

/** A log file that starts anew when it has grown large (one older file is kept); each line also goes to standard error. */
export function openLog(path: string): (line: string) => void {
  try {
    mkdirSync(dirname(path), { recursive: true });
    if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > maxBytes) renameSync(path, `${path}.old`);
  } catch {
    // Standard error remains.
  }
  return (line) => {
    const text = `${new Date().toISOString()} ${line}\n`;
    process.stderr.write(text);
    try {
      appendFileSync(path, text);
    } catch {
      // A full disk must not turn a log line into a failure.
    }
  };
}
