import { withSetupLock } from './lock.mjs';
import { reportFailure, resetProgress, say, seconds } from './ui.mjs';

/**
 * A step of the set-up: small, re-runnable, silent and quick when there is nothing to do.
 * @typedef {{name: string, isDone: () => boolean | Promise<boolean>, run: () => Promise<void>}} Step
 */

/**
 * Runs the steps that are not done, in order; stops at the first failure, having reported it.
 * @param {Step[]} steps
 * @returns {Promise<boolean>} whether everything is in place
 */
export async function runSteps(steps) {
  for (const [index, step] of steps.entries()) {
    try {
      if (await step.isDone()) continue;
    } catch (error) {
      reportFailure(step.name, error);
      return false;
    }
    // From here on something is built: one set-up at a time. The steps before this one are done already.
    return withSetupLock(() => runLocked(steps.slice(index))).catch((error) => {
      reportFailure('Set-up', error);
      return false;
    });
  }
  return true;
}

async function runLocked(steps) {
  for (const step of steps) {
    try {
      if (await step.isDone()) continue;
      say(`• ${step.name}…`);
      resetProgress();
      const start = performance.now();
      await step.run();
      say(`✓ ${step.name} (${seconds(performance.now() - start)})`);
    } catch (error) {
      reportFailure(step.name, error);
      return false;
    }
  }
  return true;
}
