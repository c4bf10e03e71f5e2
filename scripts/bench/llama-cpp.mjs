import { existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { isWindows, sharedCache } from '../lib/paths.mjs';
import { hashOfFile } from '../lib/stamps.mjs';
import { StepError, progress, say, seconds } from '../lib/ui.mjs';
import { runJson } from './run-json.mjs';

/** llama.cpp lies inside this source distribution. */
const source = {
  package: 'llama-cpp-python',
  version: '0.3.36',
  sha256: '832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e',
};
const programs = ['llama-bench', 'llama-quantize'];
const targets = ['llama-bench', 'llama-perplexity', 'llama-quantize'];

export const peerCache = join(sharedCache, 'peer');

/**
 * llama.cpp's programs: from HUNCH_PEER, from the cache, or built now for this machine.
 * @returns {Promise<{name: string, version: string, folder: string, env: object}>}
 */
export async function findLlamaCpp() {
  const chosen = process.env.HUNCH_PEER;
  if (chosen) {
    const missing = programs.filter((name) => !existsSync(join(chosen, executable(name))));
    if (missing.length > 0) {
      throw new StepError(
        `HUNCH_PEER names ${chosen}, which lacks ${missing.join(' and ')}.`,
        'Point it at the bin folder of a llama.cpp build, or unset it to have one built.',
      );
    }
    return peerAt(resolve(chosen), 'as found in HUNCH_PEER');
  }
  const home = join(peerCache, `llama.cpp-${source.version}`);
  const bin = join(home, 'build', 'bin');
  if (!existsSync(join(home, 'complete'))) await build(home);
  return peerAt(bin, `of ${source.package} ${source.version}, built for this CPU`);
}

const executable = (name) => (isWindows ? `${name}.exe` : name);

function peerAt(folder, version) {
  // Its libraries lie beside the programs; a build that was moved finds them only so.
  const variable = process.platform === 'darwin' ? 'DYLD_LIBRARY_PATH' : 'LD_LIBRARY_PATH';
  const paths = [folder, process.env[variable]].filter(Boolean).join(delimiter);
  return { name: 'llama.cpp', version, folder, env: { [variable]: paths } };
}

async function build(home) {
  const start = performance.now();
  say(`• llama.cpp (${source.package} ${source.version}), once: about 5 minutes…`);
  for (const tool of ['cmake', 'python3']) {
    if (!which(tool)) throw new StepError(`${tool} is not installed.`, `Install ${tool}, or set HUNCH_PEER.`);
  }
  const tree = join(home, 'source');
  if (!existsSync(tree)) await unpack(home, tree);
  const output = join(home, 'build');
  try {
    await exec('cmake', [
      ...['-S', tree, '-B', output, ...(which('ninja') ? ['-G', 'Ninja'] : [])],
      ...['-DCMAKE_BUILD_TYPE=Release', '-DGGML_NATIVE=ON', '-DLLAMA_OPENSSL=OFF', '-DLLAMA_CURL=OFF'],
      ...['-DLLAMA_BUILD_TESTS=OFF', '-DLLAMA_BUILD_EXAMPLES=OFF', '-DLLAMA_BUILD_SERVER=OFF'],
    ]);
    await exec('cmake', ['--build', output, '--parallel', String(availableParallelism()), '--target', ...targets], {
      onLine: (line) => {
        const step = /^\[\s*(\d+)(?:\/(\d+)|%)\]/.exec(line);
        if (step) progress(step[2] ? `compiling ${step[1]} of ${step[2]}` : `compiling, ${step[1]} %`);
      },
      tailLines: 20,
    });
  } catch (error) {
    throw new StepError(
      `llama.cpp could not be built: ${error.message}`,
      `Read the first error above; it needs cmake and a C++17 compiler. For a fresh build delete ${home}. Or set HUNCH_PEER.`,
      { cause: error },
    );
  }
  writeFileSync(join(home, 'complete'), '');
  say(`✓ llama.cpp (${seconds(performance.now() - start)})`);
}

/** Downloads, checks and unpacks the source; the folder appears in one rename. */
async function unpack(home, tree) {
  mkdirSync(home, { recursive: true });
  const work = mkdtempSync(join(home, 'tmp-'));
  try {
    progress('downloading 77 MB');
    await exec('python3', [
      ...['-m', 'pip', 'download', '--no-deps', '--no-binary=:all:', '--no-cache-dir', '--no-input'],
      ...['--disable-pip-version-check', '--progress-bar=off', '--dest', work, `${source.package}==${source.version}`],
    ]);
    const archive = join(work, readdirSync(work).find((name) => name.endsWith('.tar.gz')) ?? 'nothing');
    const found = hashOfFile(archive);
    if (found !== source.sha256) throw new Error(`its SHA-256 is ${found} instead of ${source.sha256}`);
    await exec('tar', ['-xzf', archive, '-C', work]);
    const unpacked = readdirSync(work).find((name) => existsSync(join(work, name, 'vendor', 'llama.cpp')));
    if (!unpacked) throw new Error('it holds no vendor/llama.cpp');
    renameSync(join(work, unpacked, 'vendor', 'llama.cpp'), tree);
  } catch (error) {
    throw new StepError(
      `The source of llama.cpp could not be got: ${error.message}`,
      'Check that the Python package index can be reached (python3 -m pip download six), or set HUNCH_PEER to a llama.cpp build.',
      { cause: error },
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** One process: warm-up and one run of each test. Tokens per second by test. */
export async function llamaBench(peer, { file, pp, tg, depth = 0, threads }, more = []) {
  const args = ['-m', file, '-p', pp, '-n', tg, '-d', depth, '-t', threads, '-r', 1, '-o', 'json', ...more].map(String);
  const command = [...(peer.enter ?? []), join(peer.folder, executable('llama-bench')), ...args];
  const tests = await runJson(command[0], command.slice(1), { env: peer.env });
  const rate = (prompt, generated) =>
    tests.find((test) => test.n_prompt === prompt && test.n_gen === generated && test.n_depth === depth)?.avg_ts;
  return { pp: pp > 0 ? rate(pp, 0) : undefined, tg: tg > 0 ? rate(0, tg) : undefined };
}

/** Another quantisation of a file, kept in the cache. */
export async function requantised(peer, { from, name, type, threads }) {
  const folder = join(peerCache, 'models');
  const file = join(folder, `${name}-${type.toLowerCase()}.gguf`);
  if (existsSync(file)) return file;
  mkdirSync(folder, { recursive: true });
  const fresh = `${file}.${process.pid}.part`;
  try {
    progress(`making ${name} ${type}`);
    const args = ['--allow-requantize', from, fresh, type, String(threads)];
    await exec(join(peer.folder, executable('llama-quantize')), args, { env: peer.env, tailLines: 5 });
    renameSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
  return file;
}
