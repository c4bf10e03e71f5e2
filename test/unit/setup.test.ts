import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const root = path.resolve(__dirname, '../..');
const scratch = mkdtempSync(path.join(tmpdir(), 'hunch-setup-test-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** A copy of the scripts' library, so that locks and stamps of this checkout stay out of it. */
function freshRoot(name: string): string {
  const folder = path.join(scratch, name);
  mkdirSync(folder, { recursive: true });
  spawnSync('cp', ['-r', path.join(root, 'scripts'), folder]);
  return folder;
}

function runNode(folder: string, program: string, env: Record<string, string> = {}) {
  return spawnSync(process.execPath, ['--input-type=module', '-e', program], {
    cwd: folder,
    encoding: 'utf8',
    env: { ...process.env, HUNCH_DEBUG: '', ...env },
    timeout: 60_000,
  });
}

describe('running steps', () => {
  const program = `
    import { runSteps } from './scripts/lib/run-steps.mjs';
    import { StepError } from './scripts/lib/ui.mjs';
    const step = (name, isDone, run) => ({ name, isDone: () => isDone, run: async () => { console.log('ran ' + name); run?.(); } });
    const ok = await runSteps([
      step('first', true),
      step('second', false),
      step('third', false, () => { throw new StepError('the disk is full.', 'Free some space.'); }),
      step('fourth', false),
    ]);
    process.exit(ok ? 0 : 7);
  `;

  it('skips what is done, stops at a failure and names step, cause and remedy without a stack', () => {
    const { status, stdout, stderr } = runNode(freshRoot('steps'), program);
    expect(status).toBe(7);
    expect(stdout).toContain('ran second');
    expect(stdout).not.toContain('ran first');
    expect(stdout).not.toContain('ran fourth');
    expect(stderr).toBe('✗ third failed\n  Cause:  the disk is full.\n  Remedy: Free some space.\n');
  });

  it('shows the stack with HUNCH_DEBUG', () => {
    const { stderr } = runNode(freshRoot('steps-debug'), program, { HUNCH_DEBUG: '1' });
    expect(stderr).toMatch(/StepError: the disk is full\.\n\s+at /);
  });

  it('takes over the lock of a set-up that died', () => {
    const folder = freshRoot('lock');
    const dead = spawnSync(process.execPath, ['-e', '']).pid;
    mkdirSync(path.join(folder, '.cache'));
    writeFileSync(path.join(folder, '.cache', 'setup.lock'), String(dead));
    const { stdout, stderr, status } = runNode(folder, program);
    expect(stdout).toContain('ran second');
    expect(stderr).toContain('third failed');
    expect(status).toBe(7);
  });

  it('fails with the missing file when there is nothing to build', () => {
    const folder = freshRoot('empty');
    const { status, stderr } = runNode(
      folder,
      `
      import { runSteps } from './scripts/lib/run-steps.mjs';
      import { native } from './scripts/steps/native.mjs';
      process.exit((await runSteps([native])) ? 0 : 7);
      `,
    );
    expect(status).toBe(7);
    expect(stderr).toContain('✗ Native engine failed');
    expect(stderr).toContain('native/CMakePresets.json is missing');
  });
});

describe('hashes of sources', () => {
  const hash = (folder: string) =>
    runNode(folder, "import { hashOf } from './scripts/lib/stamps.mjs'; console.log(hashOf(['src', 'one.txt']));")
      .stdout;

  it('change with content, names and arrivals, not with build outputs', () => {
    const folder = freshRoot('hash');
    const seen = new Set<string>();
    const changed = () => {
      const now = hash(folder);
      expect(now).toMatch(/^[0-9a-f]{64}\n$/);
      const isNew = !seen.has(now);
      seen.add(now);
      return isNew;
    };
    expect(changed()).toBe(true); // neither exists
    mkdirSync(path.join(folder, 'src'));
    writeFileSync(path.join(folder, 'src', 'a.ts'), 'x');
    expect(changed()).toBe(true);
    writeFileSync(path.join(folder, 'src', 'a.ts'), 'y');
    expect(changed()).toBe(true);
    writeFileSync(path.join(folder, 'one.txt'), '');
    expect(changed()).toBe(true);
    mkdirSync(path.join(folder, 'src', 'build'));
    writeFileSync(path.join(folder, 'src', 'build', 'out.o'), 'x');
    expect(changed()).toBe(false);
  });
});

describe('counting tests', () => {
  /** Runs a made-up suite whose runner executes `script` with the report's path in its last argument. */
  function count(script: string, counter = '(text) => JSON.parse(text)', minutes = 1) {
    const program = `
      import { runSuite } from './scripts/lib/suites.mjs';
      const suite = { name: 'made-up', minutes: ${minutes}, count: ${counter},
        command: (report) => [process.execPath, '-e', ${JSON.stringify(script)}, report] };
      const { passed, failed, skipped, note } = await runSuite(suite, ${JSON.stringify(scratch)}, {});
      console.log(JSON.stringify({ passed, failed, skipped, note }));
    `;
    rmSync(path.join(scratch, 'made-up.report'), { force: true });
    const { stdout, stderr } = runNode(root, program);
    if (stdout.trim() === '') throw new Error(stderr);
    return JSON.parse(stdout.trim().split('\n').pop() ?? '');
  }
  const write = (counts: object) =>
    `require('fs').writeFileSync(process.argv[1], ${JSON.stringify(JSON.stringify(counts))});`;

  it('takes what a runner reports', () => {
    expect(count(write({ passed: 3, failed: 0, skipped: 1 }))).toEqual({ passed: 3, failed: 0, skipped: 1, note: '' });
    const failing = count(`${write({ passed: 3, failed: 2, skipped: 0 })} process.exit(1);`);
    expect(failing).toEqual({ passed: 3, failed: 2, skipped: 0, note: '' });
  });

  it('counts a runner that crashes, finds nothing, leaves no report or half a report as a failure', () => {
    expect(count(`${write({ passed: 3, failed: 0, skipped: 0 })} process.abort();`)).toMatchObject({
      passed: 3,
      failed: 1,
    });
    expect(count(write({ passed: 0, failed: 0, skipped: 0 }))).toMatchObject({
      failed: 1,
      note: '  it found no tests',
    });
    expect(count('')).toMatchObject({ passed: 0, failed: 1 });
    expect(count("require('fs').writeFileSync(process.argv[1], '{');")).toMatchObject({ passed: 0, failed: 1 });
  });

  it('ends a runner that hangs, and counts it', () => {
    expect(count('setInterval(() => {}, 1000);', undefined, 0.01)).toMatchObject({ failed: 1 });
  });

  it('reads the reports of vitest and ctest', () => {
    const program = `
      import { suites } from './scripts/lib/suites.mjs';
      const read = (name, text) => suites.find((suite) => suite.name === name).count(text);
      const file = (status, tests) => ({ status, assertionResults: tests.map((status) => ({ status })) });
      console.log(JSON.stringify([
        read('unit', JSON.stringify({ numPassedTests: 4, numFailedTests: 1, numPendingTests: 2, numTodoTests: 1,
          testResults: [file('passed', ['passed']), file('failed', ['failed']), file('failed', [])] })),
        read('native', '<?xml version="1.0"?>\\n<testsuite name="Linux-c++"\\n\\ttests="9"\\n\\tfailures="2"\\n\\tdisabled="1"\\n\\tskipped="1"\\n>'),
      ]));
    `;
    const { stdout } = runNode(root, program);
    expect(JSON.parse(stdout)).toEqual([
      { passed: 4, failed: 2, skipped: 3 }, // a file that could not be loaded counts as failed
      { passed: 5, failed: 2, skipped: 2 },
    ]);
  });
});
