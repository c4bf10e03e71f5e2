/** A failure that a person can act on. `cause` says what went wrong, `remedy` what to do about it. */
export class StepError extends Error {
  constructor(cause, remedy, options) {
    super(cause, options);
    this.name = 'StepError';
    this.remedy = remedy;
  }
}

export const debug = Boolean(process.env.HUNCH_DEBUG);

let out = process.stdout;
let progressShown = '';
let lastPlainProgress = 0;

/** `hunch … --json` must own stdout, so its set-up reports on stderr. */
export function reportTo(stream) {
  out = stream;
}

function clearProgress() {
  if (!progressShown) return;
  out.write('\r\u001b[K');
  progressShown = '';
}

export function say(line = '') {
  clearProgress();
  out.write(`${line}\n`);
}

/** One line that is rewritten on a terminal; elsewhere one line every ten seconds, so that logs stay short. */
export function progress(text) {
  if (out.isTTY) {
    const line = `  ${text}`.slice(0, Math.max(20, (out.columns ?? 80) - 1));
    if (line === progressShown) return;
    out.write(`\r\u001b[K${line}`);
    progressShown = line;
    return;
  }
  const now = Date.now();
  if (now - lastPlainProgress < 10_000) return;
  lastPlainProgress = now;
  out.write(`  ${text}\n`);
}

/** Starts the ten seconds anew: a short step prints no progress at all. */
export function resetProgress() {
  lastPlainProgress = Date.now();
}

export const seconds = (ms) => `${(ms / 1000).toFixed(1)} s`;
export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(0)} MB`;

/** "what 40 of 102 MB (39 %)", or without a total "what 40 MB". */
export function bytesDone(what, done, total) {
  if (!total) return `${what} ${megabytes(done)}`;
  const share = Math.min(100, Math.floor((100 * done) / total));
  return `${what} ${(done / 1e6).toFixed(0)} of ${megabytes(total)} (${share} %)`;
}

export function reportFailure(stepName, error) {
  clearProgress();
  const known = error instanceof StepError;
  const lines = [
    `✗ ${stepName} failed`,
    `  Cause:  ${indent(error?.message ?? String(error))}`,
    `  Remedy: ${indent(known ? error.remedy : 'Run the same command with HUNCH_DEBUG=1 to see where it failed.')}`,
  ];
  process.stderr.write(`${lines.join('\n')}\n`);
  if (debug) {
    for (let e = error; e; e = e.cause) process.stderr.write(`${e.stack ?? e}\n`);
  }
}

const longestCause = 50; // lines

function indent(text) {
  const lines = text.trimEnd().split('\n');
  const shown = lines.length > longestCause ? [...lines.slice(0, 20), '…', ...lines.slice(20 - longestCause)] : lines;
  return shown.join('\n          ');
}
