import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { inRoot, isWindows } from '../lib/paths.mjs';
import { StepError, say } from '../lib/ui.mjs';
import { peerCache } from './llama-cpp.mjs';
import { runJson } from './run-json.mjs';

const version = '3.22.1';

/** The package with the prebuilt binary for this machine's CPU. */
const binaries = {
  'linux-x64': 'linux-x64',
  'linux-arm64': 'linux-arm64',
  'darwin-arm64': 'mac-arm64-metal',
  'darwin-x64': 'mac-x64',
  'win32-x64': 'win-x64',
};

/**
 * Installs node-llama-cpp into the cache, once; it is no dependency of ours.
 * @returns {Promise<{name: string, version: string, folder: string}>}
 */
export async function findNodeLlamaCpp() {
  const binary = binaries[`${process.platform}-${process.arch}`];
  if (!binary) {
    throw new StepError(
      `node-llama-cpp has no prebuilt binary for ${process.platform} ${process.arch}.`,
      'Use --no-node.',
    );
  }
  const home = join(peerCache, `node-llama-cpp-${version}`);
  if (!existsSync(home)) {
    say(`• node-llama-cpp ${version}, once…`);
    mkdirSync(peerCache, { recursive: true });
    const work = mkdtempSync(join(peerCache, 'tmp-'));
    try {
      writeFileSync(join(work, 'package.json'), '{"private":true}\n');
      // Its optional packages are binaries for every GPU: only the one for the CPU is wanted.
      const wanted = [`node-llama-cpp@${version}`, `@node-llama-cpp/${binary}@${version}`];
      const flags = ['--ignore-scripts', '--omit=optional', '--save-exact', '--no-audit', '--no-fund'];
      const npm = process.env.npm_execpath?.endsWith('npm-cli.js')
        ? [process.execPath, process.env.npm_execpath]
        : [which('npm') ?? join(dirname(process.execPath), isWindows ? 'npm.cmd' : 'npm')];
      await exec(npm[0], [...npm.slice(1), 'install', ...flags, ...wanted], { cwd: work, tailLines: 8 });
      renameSync(work, home);
    } catch (error) {
      throw new StepError(
        `node-llama-cpp could not be installed: ${error.message}`,
        'Check that the npm registry can be reached (npm ping), or use --no-node.',
        { cause: error },
      );
    } finally {
      rmSync(work, { recursive: true, force: true });
    }
  }
  return { name: 'node-llama-cpp', version, folder: home };
}

/** One process: a warm-up and one run of prompt + decode tokens through its JavaScript interface. */
export function nodeLlamaCppStream({ folder }, { file, threads, prompt, decode }) {
  const work = JSON.stringify({ folder, file, threads, prompt, decode });
  return runJson(process.execPath, [inRoot('scripts', 'bench', 'node-llama-cpp-child.mjs'), work]);
}
