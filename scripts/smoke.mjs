// `npm start -- --smoke`: the window as a person uses it, driven from outside, in a virtual display.
import { displayProblem } from './lib/display.mjs';
import { isRoot } from './lib/paths.mjs';
import { loadTestHelper } from './lib/test-helper.mjs';
import { reportFailure, say } from './lib/ui.mjs';
import { startXvfb } from './lib/xvfb.mjs';

/** @returns {Promise<number>} exit code */
export async function runSmoke() {
  let server = null;
  try {
    if ((await displayProblem()) !== null) {
      server = await startXvfb();
      process.env.DISPLAY = server.display;
    }
    if (isRoot) say('Running as root: Chromium’s sandbox is off.');
    const { smoke, question } = await loadTestHelper('smoke');
    say(`> ${question}`);
    const stats = await smoke((text) => process.stdout.write(text));
    say(`\n${speedOf(stats)}`);
    return 0;
  } catch (error) {
    reportFailure('Smoke test', error);
    return 1;
  } finally {
    await server?.stop();
  }
}

/** "… 123.4 tok/s …" → "123.4 tok/s" */
const speedOf = (stats) => /[\d.,]+\s*tok\/s/.exec(stats)?.[0].replace(/\s+/, ' ') ?? stats;
