import { rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { inRoot } from '../lib/paths.mjs';
import { StepError, progress } from '../lib/ui.mjs';
import { findZig } from './zig.mjs';
import { findWine, loadInNode, wineEnvironment } from './wine.mjs';

/** They time threads, which an emulator runs by turns. */
const timed = 'pool:*,read_bandwidth*,engine: two*';

const folderOf = (preset) => inRoot('build', 'cross', preset);

/** What each name does: builds, runs what it can, and returns a sentence. @type {Record<string, (jobs: number) => Promise<string>>} */
export const platforms = {
  async neon(jobs) {
    needs([
      { programs: ['aarch64-linux-gnu-g++'], package: 'g++-aarch64-linux-gnu' },
      { programs: ['qemu-aarch64-static', 'qemu-aarch64'], package: 'qemu-user-static' },
    ]);
    await build('neon', [], jobs);
    const qemu = which('qemu-aarch64-static') ?? which('qemu-aarch64');
    return runTests(qemu, join(folderOf('neon'), 'hunch_tests'));
  },

  async windows(jobs) {
    await build('windows', [`-DHUNCH_ZIG=${await findZig()}`], jobs);
    const size = addonSize('windows');
    const wine = findWine();
    if (!wine) return `${size}; not run: install wine64 to run the tests`;
    const env = wineEnvironment();
    const tests = await runTests(wine, join(folderOf('windows'), 'hunch_tests.exe'), env);
    return `${size}; ${tests}; ${await loadInNode(wine, folderOf('windows'), env)}`;
  },

  'macos-arm64': (jobs) => macos('macos-arm64', jobs),
  'macos-x64': (jobs) => macos('macos-x64', jobs),
};

/** The test program is linked without `-undefined dynamic_lookup`: it shows that the engine lacks nothing. */
async function macos(preset, jobs) {
  await build(preset, [`-DHUNCH_ZIG=${await findZig()}`], jobs);
  return `${addonSize(preset)}; the tests link; nothing was run: that needs a Mac`;
}

function needs(tools) {
  const missing = tools.filter(({ programs }) => !programs.some(which));
  if (missing.length === 0) return;
  const names = missing.map(({ package: name }) => name).join(' ');
  throw new StepError(
    `Not found: ${missing.map(({ programs }) => programs[0]).join(', ')}.`,
    `On Debian and Ubuntu: apt-get install ${names}`,
  );
}

async function build(preset, settings, jobs) {
  needs([
    { programs: ['cmake'], package: 'cmake' },
    { programs: ['ninja'], package: 'ninja-build' },
  ]);
  const folder = folderOf(preset);
  const configure = () => exec('cmake', ['--preset', preset, ...settings], { cwd: inRoot('native') });
  try {
    try {
      await configure();
    } catch (error) {
      // CMake keeps the compiler it first saw.
      if (!/CMakeCache\.txt|not a full path to an existing compiler/i.test(error.tail ?? '')) throw error;
      rmSync(folder, { recursive: true, force: true });
      await configure();
    }
    await exec('cmake', ['--build', folder, '--parallel', String(jobs)], { onLine: showProgress, tailLines: 40 });
  } catch (error) {
    throw new StepError(
      error.message,
      `Read the first error above. It needs npm ci, cmake 3.22, doctest and Eigen (doctest-dev, libeigen3-dev); for a fresh build delete build/cross/${preset}.`,
      { cause: error },
    );
  }
}

/** Ninja writes "[12/80] Building CXX object …". */
function showProgress(line) {
  const step = /^\[(\d+)\/(\d+)\]/.exec(line);
  if (step) progress(`compiling ${step[1]} of ${step[2]}`);
}

const addonSize = (preset) =>
  `build/cross/${preset}/hunch.node ${(statSync(join(folderOf(preset), 'hunch.node')).size / 1e6).toFixed(2)} MB`;

async function runTests(emulator, program, env) {
  let done = 0;
  const output = await exec(emulator, [program, '--duration', '--no-path-filenames', `--test-case-exclude=${timed}`], {
    env,
    timeoutMs: 15 * 60_000,
    onLine: (line) => /^\d+\.\d+ s: /.test(line) && progress(`${++done} cases done`),
    tailLines: 40,
  });
  const counts = /test cases:\s*(\d+) \|\s*(\d+) passed \|\s*(\d+) failed/.exec(output);
  if (!counts || counts[1] === '0') {
    throw new StepError('The test program reported no cases.', `Run it by hand: ${emulator} ${program}`);
  }
  return `${counts[2]} of ${counts[1]} cases passed under ${emulator.split('/').pop()}`;
}
