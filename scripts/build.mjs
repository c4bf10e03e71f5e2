// Compiles what changed: the native engine, the program bundles and the window bundle.
import { runSteps } from './lib/run-steps.mjs';
import { buildSteps } from './steps/index.mjs';

if (!(await runSteps(buildSteps()))) process.exit(1);
