// `node scripts/cross.mjs neon|windows|macos-arm64|macos-x64|all`: builds for another platform from here, and runs what can
// be run here. One line per platform at the end. docs/platforms.md says what that proves.
import { availableParallelism } from 'node:os';
import { parseArgs } from 'node:util';
import { platforms } from './cross/platforms.mjs';
import { reportFailure, resetProgress, say, seconds } from './lib/ui.mjs';

const usage = `Usage: node scripts/cross.mjs ${Object.keys(platforms).join('|')}|all [--jobs N]`;

let chosen, jobs;
try {
  const { values, positionals } = parseArgs({ allowPositionals: true, options: { jobs: { type: 'string' } } });
  chosen = positionals.includes('all') ? Object.keys(platforms) : positionals;
  jobs = values.jobs === undefined ? availableParallelism() : Number(values.jobs);
  const unknown = positionals.find((name) => name !== 'all' && !Object.hasOwn(platforms, name));
  if (unknown) throw new Error(`There is no platform named ${unknown}.`);
  if (chosen.length === 0) throw new Error('Name a platform.');
  if (!Number.isInteger(jobs) || jobs < 1) throw new Error('--jobs takes a whole number from 1.');
} catch (error) {
  say(`${error.message}\n${usage}`);
  process.exit(1);
}

const lines = [];
for (const name of chosen) {
  const start = performance.now();
  say(`• ${name}…`);
  resetProgress();
  let result;
  try {
    result = await platforms[name](jobs);
  } catch (error) {
    reportFailure(name, error);
    result = 'failed, see above';
    process.exitCode = 1;
  }
  lines.push(`${name.padEnd(12)} ${result} (${seconds(performance.now() - start)})`);
}
say();
for (const line of lines) say(line);
