// `npm run cuda`: fetches NVIDIA's compiler where it is missing, and builds the engine with its CUDA kernels.
import { runSteps } from './lib/run-steps.mjs';
import { commandLine } from './steps/index.mjs';

process.env.HUNCH_CUDA = '1';
if (!(await runSteps(commandLine()))) process.exit(1);
