// `npm run hunch -- …`: the command line of this checkout, rebuilt when its sources changed.
import { attach } from './lib/exec.mjs';
import { inRoot } from './lib/paths.mjs';
import { runSteps } from './lib/run-steps.mjs';
import { reportTo } from './lib/ui.mjs';
import { commandLine } from './steps/index.mjs';

reportTo(process.stderr); // stdout is the command's own, e.g. for --json
process.exitCode = (await runSteps(commandLine()))
  ? await attach(process.execPath, [inRoot('dist', 'electron', 'cli.cjs'), ...process.argv.slice(2)], {
      cwd: process.env.INIT_CWD || process.cwd(), // where the person stands: npm itself moves to the root
    })
  : 1;
