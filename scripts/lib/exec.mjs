import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { debug } from './ui.mjs';
import { isWindows, root } from './paths.mjs';

/** Thrown by `exec`: the command, how it ended and the last lines it wrote. */
export class CommandError extends Error {
  constructor(command, ending, tail) {
    super(`${command} ${ending}${tail ? `:\n${tail}` : '.'}`);
    this.name = 'CommandError';
    this.tail = tail;
  }
}

/** Full path of a program on PATH, or null. */
export function which(program) {
  const names = isWindows ? [`${program}.exe`, `${program}.cmd`, program] : [program];
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const name of names) {
      if (folder && existsSync(join(folder, name))) return join(folder, name);
    }
  }
  return null;
}

/** Standard output of a short command, or null when it is missing or fails. */
export function output(program, args, env) {
  const result = spawnSync(program, args, { encoding: 'utf8', env: { ...process.env, ...env }, timeout: 30_000 });
  return result.status === 0 ? result.stdout : null;
}

/**
 * Runs a command without a terminal and hands its lines to `onLine`.
 * @param {{cwd?: string, env?: object, onLine?: (line: string) => void, timeoutMs?: number, signal?: AbortSignal,
 *   tailLines?: number, summary?: (lines: string[]) => string[], extraFd?: boolean}} [options] `summary` picks the lines
 *   of a failure that are worth showing, by default the last `tailLines`; `extraFd` opens file descriptor 3, read like stdout.
 * @returns {Promise<string>} everything it wrote, stdout and stderr in order of arrival
 * @throws {CommandError}
 */
export function exec(program, args, options = {}) {
  const { cwd = root, env, onLine, timeoutMs, signal, tailLines = 25, summary, extraFd = false } = options;
  const shown = [program.split('/').pop(), ...args].join(' ');
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe', ...(extraFd ? ['pipe'] : [])],
      shell: isWindows && !program.endsWith('.exe'),
    });
    const lines = [];
    let ended = null;
    const stop = (why) => {
      ended = why;
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 2000).unref();
    };
    const timer = timeoutMs && setTimeout(() => stop(`took longer than ${timeoutMs / 1000} s`), timeoutMs);
    const abort = () => stop(signal.reason?.message ?? 'was cancelled');
    signal?.addEventListener('abort', abort, { once: true });

    for (const stream of child.stdio.slice(1)) {
      let rest = '';
      stream.setEncoding('utf8');
      stream.on('data', (chunk) => {
        const parts = (rest + chunk).split(/\r\n|\n|\r/);
        rest = parts.pop();
        for (const line of parts) take(line);
      });
      stream.on('end', () => rest && take(rest));
    }
    function take(line) {
      lines.push(line);
      if (debug) process.stderr.write(`    ${line}\n`);
      onLine?.(line);
    }
    const finish = (error) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
      if (error) reject(error);
      else resolve(lines.join('\n'));
    };
    child.on('error', (error) =>
      finish(new CommandError(shown, error.code === 'ENOENT' ? 'was not found' : `could not start (${error.message})`)),
    );
    child.on('close', (code, killedBy) => {
      if (!ended && code === 0) return finish(null);
      const written = lines.filter((line) => line.trim());
      const tail = (summary?.(written) ?? written.slice(-tailLines)).join('\n');
      finish(
        new CommandError(shown, ended ?? (killedBy ? `was ended by ${killedBy}` : `ended with code ${code}`), tail),
      );
    });
  });
}

/**
 * Runs a command that owns this terminal, passing signals on.
 * @returns {Promise<number>} its exit code, 128 + signal number style codes included
 */
export function attach(program, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { cwd: root, stdio: 'inherit', ...options });
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    // A terminal sends Ctrl+C to the child as well; this process only has to outlive it.
    const forward = (name) => name !== 'SIGINT' && child.kill(name);
    for (const name of signals) process.on(name, forward);
    child.on('error', reject);
    child.on('close', (code, killedBy) => {
      for (const name of signals) process.off(name, forward);
      resolve(code ?? (killedBy === 'SIGINT' ? 130 : 143));
    });
  });
}
