// `npm start`: sets up what is missing, then opens Hunch. Runs before any package is installed.
import { attach } from './lib/exec.mjs';
import { displayProblem } from './lib/display.mjs';
import { launchApp } from './lib/launch.mjs';
import { inRoot } from './lib/paths.mjs';
import { runSteps } from './lib/run-steps.mjs';
import { reportFailure, say } from './lib/ui.mjs';
import { everything, terminalChat } from './steps/index.mjs';

const args = process.argv.slice(2);

if (args.includes('--help')) {
  say(
    'npm start              set up what is missing and open Hunch (a chat in this terminal where there is no display)',
  );
  say('npm start -- --smoke   the same in a virtual display: ask one question, print the reply and its speed, and end');
} else {
  process.exitCode = await start();
}

async function start() {
  if (args.includes('--smoke')) {
    if (!(await runSteps(everything({ window: true, virtualDisplay: true })))) return 1;
    const { runSmoke } = await import('./smoke.mjs');
    return runSmoke();
  }
  const problem = await displayProblem();
  if (problem === null) {
    if (!(await runSteps(everything({ window: true })))) return 1;
    try {
      return await launchApp(args);
    } catch (error) {
      reportFailure('Opening the window', error);
      return 1;
    }
  }
  say(`No window can be opened here: ${problem}.`);
  say('The same chat starts in this terminal instead. (npm start -- --smoke tries the window in a virtual display.)');
  if (!(await runSteps(terminalChat()))) return 1;
  return attach(process.execPath, [inRoot('dist', 'electron', 'cli.cjs'), 'run']);
}
