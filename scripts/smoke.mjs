// `npm start -- --smoke`: the window as a person uses it, driven from outside, in a virtual display.
import { pathToFileURL } from 'node:url';
import { displayProblem } from './lib/display.mjs';
import { inRoot, isRoot, root } from './lib/paths.mjs';
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
    const { smoke, question } = await loadHelper();
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

/**
 * The helper is TypeScript, shared with the window tests. Its bundle lies as deep below the root as its source does,
 * so that what is found relative to a module (packages, the root itself) stays the same.
 */
async function loadHelper() {
  const outfile = inRoot('.cache', 'smoke', 'smoke.mjs');
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: root,
    entryPoints: ['test/helpers/smoke.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'silent',
  });
  return import(pathToFileURL(outfile).href);
}
