import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inRoot, isWindows, root } from './paths.mjs';

const vitest = (project, ...more) => ({
  name: project,
  count: countVitest,
  command: (report) => [
    process.execPath,
    inRoot('node_modules', 'vitest', 'vitest.mjs'),
    'run',
    `--project=${project}`,
    '--reporter=default',
    '--reporter=json',
    `--outputFile.json=${report}`,
    ...more,
  ],
});

/** In order of cost. A suite that takes longer than `minutes` hangs: it is ended and counted as failed. */
export const suites = [
  { ...vitest('unit', '--fileParallelism'), minutes: 5 },
  {
    name: 'native',
    count: countJunit,
    command: (report) => [
      'ctest',
      '--test-dir',
      inRoot('build', 'native'),
      '--output-on-failure',
      '--no-tests=error',
      '--timeout',
      '120',
      '--output-junit',
      report,
    ],
    minutes: 5,
  },
  { ...vitest('model'), minutes: 8 },
  { ...vitest('e2e'), minutes: 12 },
];

/**
 * Runs one suite with its output passed through. A runner that crashes, hangs, reports nothing or finds no tests
 * counts as one failure on top of what it reported.
 * @returns {Promise<{name: string, passed: number, failed: number, skipped: number, ms: number, note: string}>}
 */
export async function runSuite(suite, scratch, env) {
  const start = performance.now();
  const report = join(scratch, `${suite.name}.report`);
  const ending = await runToEnd(suite.command(report), env, suite.minutes * 60_000);
  const counted = readCounts(suite, report);
  let note = '';
  if (counted === null) note = `the runner left no report (${ending.text})`;
  else if (counted.passed + counted.failed + counted.skipped === 0) note = 'it found no tests';
  else if (ending.timedOut) note = ending.text;
  else if (!ending.ok && counted.failed === 0) note = `the runner itself failed (${ending.text})`;
  const { passed = 0, failed = 0, skipped = 0 } = counted ?? {};
  return {
    name: suite.name,
    passed,
    failed: failed + (note ? 1 : 0),
    skipped,
    ms: performance.now() - start,
    note: note && `  ${note}`,
  };
}

function readCounts(suite, report) {
  try {
    return existsSync(report) ? suite.count(readFileSync(report, 'utf8')) : null;
  } catch {
    return null; // cut off in the middle
  }
}

function countVitest(text) {
  const report = JSON.parse(text);
  // A file that cannot be loaded has no test to fail.
  const broken = report.testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  );
  return {
    passed: report.numPassedTests,
    failed: report.numFailedTests + broken.length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function countJunit(text) {
  const attributes = /<testsuite\b([^>]*)>/.exec(text)?.[1] ?? '';
  const number = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(attributes)?.[1] ?? 0);
  const [tests, failed, skipped] = [number('tests'), number('failures'), number('skipped') + number('disabled')];
  return { passed: tests - failed - skipped, failed, skipped };
}

function runToEnd([program, ...args], env, limitMs) {
  return new Promise((resolve) => {
    // A group of its own, so that ending it also ends the browsers and engines it started.
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, NODE_ENV: 'test', ...env }, // whatever the shell has set: React leaves its test tools out of production
      detached: !isWindows,
    });
    const endAll = (signal) => {
      try {
        if (isWindows) child.kill(signal);
        else process.kill(-child.pid, signal);
      } catch {
        // already gone
      }
    };
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      endAll('SIGKILL');
    }, limitMs);
    const interrupted = (signal) => {
      endAll('SIGKILL');
      process.exit(signal === 'SIGINT' ? 130 : 143);
    };
    for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, interrupted);
    const done = (ok, text) => {
      clearTimeout(timer);
      for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, interrupted);
      endAll('SIGKILL'); // whatever it left behind
      resolve({ ok, timedOut, text: timedOut ? `ended after ${limitMs / 60_000} minutes` : text });
    };
    child.on('error', (error) => done(false, error.message));
    child.on('close', (code, signal) => done(code === 0, signal ? `ended by ${signal}` : `code ${code}`));
  });
}
