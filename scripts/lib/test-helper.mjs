import { pathToFileURL } from 'node:url';
import { inRoot, root } from './paths.mjs';

/**
 * Loads a module of test/helpers, which is TypeScript and shared with the window tests. Its bundle lies as deep below
 * the root as its source does, so that what is found relative to a module (packages, the root itself) stays the same.
 */
export async function loadTestHelper(name) {
  const outfile = inRoot('.cache', name, `${name}.mjs`);
  const { build } = await import('esbuild');
  await build({
    absWorkingDir: root,
    entryPoints: [`test/helpers/${name}.ts`],
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
