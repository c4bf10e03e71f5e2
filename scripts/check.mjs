// `npm run check`: format, types, lint and tests; all of them run, then each verdict is named.
import { attach } from './lib/exec.mjs';
import { inRoot } from './lib/paths.mjs';
import { runSteps } from './lib/run-steps.mjs';
import { say } from './lib/ui.mjs';
import { dependencies } from './steps/dependencies.mjs';
import { nodeVersion } from './steps/node-version.mjs';

const tool = (path, ...args) => [inRoot('node_modules', path), ...args];
const checks = [
  {
    name: 'format',
    command: tool('prettier/bin/prettier.cjs', '--check', '--log-level=warn', '.'),
    remedy: 'npm run format',
  },
  { name: 'types', command: tool('typescript/bin/tsc', '--noEmit', '-p', 'tsconfig.json') },
  { name: 'lint', command: tool('eslint/bin/eslint.js', '.', '--max-warnings=0') },
  { name: 'tests', command: [inRoot('scripts', 'test.mjs')] },
];

process.exitCode = (await runSteps([nodeVersion, dependencies])) ? await runChecks() : 1;

async function runChecks() {
  const verdicts = [];
  for (const check of checks) {
    say(`\n── ${check.name} ──`);
    const code = await attach(process.execPath, check.command);
    verdicts.push({ ...check, ok: code === 0 });
  }
  say();
  for (const { name, ok, remedy } of verdicts) {
    say(`${ok ? '✓' : '✗'} ${name}${!ok && remedy ? ` (${remedy} puts it right)` : ''}`);
  }
  return verdicts.every((verdict) => verdict.ok) ? 0 : 1;
}
