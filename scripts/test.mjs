// `npm test [-- unit native model e2e]`: sets up what is missing, runs every suite, and ends with one line of counts.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runSteps } from './lib/run-steps.mjs';
import { runSuite, suites } from './lib/suites.mjs';
import { say, seconds } from './lib/ui.mjs';
import { forTests } from './steps/index.mjs';
import { modelsFolder } from './steps/stock-model.mjs';

const chosen = process.argv.slice(2);
const unknown = chosen.filter((name) => !suites.some((suite) => suite.name === name));
if (unknown.length > 0) {
  say(`There is no suite named ${unknown.join(', ')}. There are: ${suites.map((suite) => suite.name).join(', ')}.`);
  finish([{ passed: 0, failed: 1, skipped: 0 }]);
} else if (await runSteps(forTests({ window: true, virtualDisplay: true }))) {
  finish(await runAll());
} else {
  finish([{ passed: 0, failed: 1, skipped: 0 }]);
}

async function runAll() {
  const scratch = mkdtempSync(join(tmpdir(), 'hunch-tests-'));
  // Tests never see a person's chats; the models are shared, being large and only read.
  const env = { HUNCH_HOME: join(scratch, 'home'), HUNCH_MODELS: modelsFolder() };
  const results = [];
  try {
    for (const suite of suites) {
      if (chosen.length > 0 && !chosen.includes(suite.name)) continue;
      say(`\n── ${suite.name} ──`);
      results.push(await runSuite(suite, scratch, env));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  say();
  for (const result of results)
    say(`${result.name.padEnd(8)} ${counts(result)}  (${seconds(result.ms)})${result.note}`);
  return results;
}

function finish(results) {
  const total = (key) => results.reduce((sum, result) => sum + result[key], 0);
  const sums = { passed: total('passed'), failed: total('failed'), skipped: total('skipped') };
  process.exitCode = sums.failed > 0 ? 1 : 0;
  if (sums.skipped > 0) say(`${sums.skipped} skipped: they need a GPU or another system.`);
  say(counts({ ...sums, skipped: 0 }));
}

function counts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
