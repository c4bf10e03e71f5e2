import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { inRoot } from './paths.mjs';
import { StepError, say } from './ui.mjs';

const file = inRoot('.cache', 'setup.lock');
const patienceMs = 15 * 60_000;

/** Two builds in one clone would write the same files: the second waits for the first. Stale locks are taken over. */
export async function withSetupLock(work) {
  const giveUpAt = Date.now() + patienceMs;
  let said = false;
  while (!tryTake()) {
    const holder = readHolder();
    if (holder !== null && !isAlive(holder)) {
      rmSync(file, { force: true });
      continue;
    }
    if (!said) say(`Waiting for another set-up of this clone (process ${holder ?? 'unknown'}) to finish…`);
    said = true;
    if (Date.now() > giveUpAt) {
      throw new StepError(
        `Another set-up of this clone (process ${holder}) has been running for over 15 minutes.`,
        `End it, or delete ${file} if it is gone, and run the command again.`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function tryTake() {
  try {
    mkdirSync(inRoot('.cache'), { recursive: true });
    writeFileSync(file, String(process.pid), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw new StepError(
      `This clone cannot be written: ${error.message}.`,
      'Run the command as the user who owns the clone (sudo chown -R "$USER" . makes it yours), and check that the disk is not full.',
      { cause: error },
    );
  }
}

function readHolder() {
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    return pid > 0 ? pid : null;
  } catch {
    return null;
  }
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}
