// `node scripts/screenshots.mjs [folder]`: pictures of the real window for docs/screenshots. Not a part of the tests.
import { inRoot } from './lib/paths.mjs';
import { runSteps } from './lib/run-steps.mjs';
import { loadTestHelper } from './lib/test-helper.mjs';
import { say } from './lib/ui.mjs';
import { startXvfb } from './lib/xvfb.mjs';
import { everything } from './steps/index.mjs';

if (!(await runSteps(everything({ window: true, virtualDisplay: true })))) process.exit(1);
const server = process.platform === 'linux' ? await startXvfb() : null;
if (server) process.env.DISPLAY = server.display;
try {
  const folder = process.argv[2] ?? inRoot('docs', 'screenshots');
  const { takeScreenshots } = await loadTestHelper('screenshots');
  await takeScreenshots(folder, (file) => say(file));
  const { takeActivityScreenshots } = await loadTestHelper('activityScreenshots');
  await takeActivityScreenshots(folder, (file) => say(file));
} finally {
  await server?.stop();
}
