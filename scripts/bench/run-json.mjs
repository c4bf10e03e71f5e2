import { spawn } from 'node:child_process';
import { inRoot } from '../lib/paths.mjs';

/**
 * Runs a program that prints one JSON value on stdout.
 * @throws {Error} with a sentence: how it ended and its last words
 */
export function runJson(program, args, { env, timeoutMs = 30 * 60_000 } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    const texts = { stdout: '', stderr: '' };
    for (const name of ['stdout', 'stderr']) {
      child[name].setEncoding('utf8').on('data', (text) => (texts[name] += text));
    }
    const shown = program.split(/[\\/]/).pop();
    const timer = setTimeout(() => child.kill('SIGKILL'), timeoutMs);
    const end = () => child.kill('SIGTERM');
    process.once('exit', end);
    const finish = () => {
      clearTimeout(timer);
      process.off('exit', end);
    };
    child.on('error', (error) => {
      finish();
      reject(new Error(`${shown} could not start (${error.message})`));
    });
    child.on('close', (code, signal) => {
      finish();
      const words = texts.stderr.trim().split('\n').slice(-2).join(' ').slice(-400);
      if (code !== 0) return reject(new Error(`${shown} ended with ${signal ?? `code ${code}`}: ${words}`));
      try {
        resolve(JSON.parse(texts.stdout));
      } catch {
        reject(new Error(`${shown} printed no JSON: ${texts.stdout.slice(0, 200)} ${words}`));
      }
    });
  });
}

const cli = () => [process.execPath, inRoot('dist', 'electron', 'cli.cjs')];

/** Our own command line. */
export const hunch = (...args) => hunch.within([])(...args);
/** The same, started by another program, whose last arguments it is. */
hunch.within =
  (enter) =>
  (...args) => {
    const [program, ...rest] = [...enter, ...cli(), ...args, '--json'];
    return runJson(program, rest);
  };
