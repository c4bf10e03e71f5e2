import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { inRoot, isWindows } from '../lib/paths.mjs';
import { StepError, progress, seconds } from '../lib/ui.mjs';

const lockFile = inRoot('package-lock.json');
/** npm writes this file last, so it also proves that the install was not cut off. */
const installedFile = inRoot('node_modules', '.package-lock.json');

export const dependencies = {
  name: 'npm packages',

  /** Compares what is installed with the lock file, so an install by hand counts as well. */
  isDone() {
    if (!existsSync(installedFile)) return false;
    const wanted = packagesOf(lockFile);
    const installed = packagesOf(installedFile);
    return Object.entries(wanted).every(([path, entry]) => {
      if (path === '') return true;
      const found = installed[path];
      // Optional packages of other platforms are left out by npm.
      return found ? found.version === entry.version : Boolean(entry.optional || entry.devOptional || entry.peer);
    });
  },

  async run() {
    const start = performance.now();
    const timer = setInterval(() => progress(`npm ci, ${seconds(performance.now() - start)}`), 1000);
    const args = ['ci', '--ignore-scripts', '--include=dev', '--include=optional', '--no-audit', '--no-fund'];
    const [program, ...before] = npmCommand();
    try {
      await exec(program, [...before, ...args], {
        env: { ONNXRUNTIME_NODE_INSTALL: 'skip' },
        timeoutMs: 20 * 60_000,
        summary: npmErrors,
      });
    } catch (error) {
      throw new StepError(
        error.message,
        'Check that the npm registry can be reached (npm ping) and that this disk has 2 GB free, then run again.',
        { cause: error },
      );
    } finally {
      clearInterval(timer);
    }
  },
};

function packagesOf(file) {
  return JSON.parse(readFileSync(file, 'utf8')).packages;
}

/** npm explains itself first and prints its manual afterwards. */
function npmErrors(lines) {
  const errors = lines.filter((line) => line.startsWith('npm error ')).map((line) => line.slice('npm error '.length));
  return (errors.length > 0 ? errors : lines).slice(0, 8);
}

/** The npm that is running this script, or the one on PATH, or the one beside this Node. */
function npmCommand() {
  const running = process.env.npm_execpath;
  if (running?.endsWith('npm-cli.js') && existsSync(running)) return [process.execPath, running];
  return [which('npm') ?? join(dirname(process.execPath), isWindows ? 'npm.cmd' : 'npm')];
}
