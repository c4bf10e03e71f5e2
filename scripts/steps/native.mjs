import { copyFileSync, existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { exec } from '../lib/exec.mjs';
import { inRoot } from '../lib/paths.mjs';
import { nvcc } from './cuda.mjs';
import { hashOf, readStamp, writeStamp } from '../lib/stamps.mjs';
import { StepError, progress, say } from '../lib/ui.mjs';

export const nativeBuildFolder = inRoot('build', 'native');
const built = inRoot('build', 'native', 'hunch.node');
const installed = inRoot('dist', 'hunch.node');

export const native = {
  name: 'Native engine',

  isDone: () => existsSync(installed) && existsSync(built) && readStamp('native') === inputs(),

  async run() {
    if (!existsSync(inRoot('native', 'CMakePresets.json'))) {
      throw new StepError(
        'native/CMakePresets.json is missing, so there is nothing to build.',
        'Get the whole repository: git status shows what is missing, git checkout -- native restores it.',
      );
    }
    const hash = inputs();
    try {
      await configure();
      await exec('cmake', ['--build', nativeBuildFolder], { onLine: showProgress, tailLines: 40 });
    } catch (error) {
      throw new StepError(
        error.message,
        'Read the first error above. It needs g++ 11 or clang 14, cmake 3.22 and ninja; for a fresh build delete build/native.',
        { cause: error },
      );
    }
    if (!existsSync(built)) {
      throw new StepError(
        'The build ended well but left no build/native/hunch.node.',
        'Delete build/native and run again.',
      );
    }
    // A running app has the old file mapped: replace the name, never the bytes.
    mkdirSync(inRoot('dist'), { recursive: true });
    const fresh = `${installed}.${process.pid}`;
    copyFileSync(built, fresh);
    renameSync(fresh, installed);
    writeStamp('native', hash);
  },
};

async function configure() {
  const args = ['--preset', 'release', `-DHUNCH_CUDA=${process.env.HUNCH_CUDA === '0' ? 'OFF' : 'auto'}`];
  if (process.env.HUNCH_CUDA_ARCHS) args.push(`-DHUNCH_CUDA_ARCHS=${process.env.HUNCH_CUDA_ARCHS}`);
  const where = { cwd: inRoot('native') };
  try {
    await exec('cmake', args, where);
  } catch (error) {
    // CMake's words for a build folder of a moved clone, another generator or a compiler that is gone.
    const stale = /CMakeCache\.txt|does not match the generator|not a full path to an existing compiler/i;
    if (!existsSync(nativeBuildFolder) || !stale.test(error.tail ?? '')) throw error;
    say('  configuring anew, the old build folder does not fit');
    rmSync(nativeBuildFolder, { recursive: true, force: true });
    await exec('cmake', args, where);
  }
}

function inputs() {
  const compiler = ['CC', 'CXX', 'CFLAGS', 'CXXFLAGS'].map((name) => `${name}=${process.env[name] ?? ''}`).join('\0');
  const cuda = process.env.HUNCH_CUDA === '0' ? '' : `${nvcc() ?? ''}\0${process.env.HUNCH_CUDA_ARCHS ?? ''}`;
  return hashOf(['native', 'test/native'], `${compiler}\0cuda=${cuda}`);
}

/** Ninja writes "[12/80] Building CXX object …". */
function showProgress(line) {
  const step = /^\[(\d+)\/(\d+)\]/.exec(line);
  if (step) progress(`compiling ${step[1]} of ${step[2]}`);
}
