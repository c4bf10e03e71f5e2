// Everything `npm start` and `npm test` need, without starting anything.
import { runSteps } from './lib/run-steps.mjs';
import { everything } from './steps/index.mjs';
import { say } from './lib/ui.mjs';

if (!(await runSteps(everything({ window: true, virtualDisplay: true })))) process.exit(1);
say('Hunch is set up.');
