import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { isLinux, sharedCache } from '../lib/paths.mjs';
import { progress, say } from '../lib/ui.mjs';

/** NVIDIA's compiler as it lies on PyPI, without the rest of the toolkit. A driver of CUDA 13.0 takes what it makes. */
const wheels = [
  'nvidia-cuda-nvcc==13.0.88',
  'nvidia-cuda-crt==13.0.88',
  'nvidia-nvvm==13.0.88',
  'nvidia-cuda-runtime==13.0.96',
  'nvidia-cuda-cccl==13.0.85',
];
const folder = join(sharedCache, 'cuda');
const bin = join(folder, 'nvidia', 'cu13', 'bin');

/** Where nvcc is, as native/cmake/cuda.cmake looks for it; null: nowhere. */
export function nvcc() {
  return which('nvcc') ?? (existsSync(join(bin, 'nvcc')) ? join(bin, 'nvcc') : null);
}

const hasNvidia = () => existsSync('/proc/driver/nvidia/version') || which('nvidia-smi') !== null;

/**
 * The CUDA compiler: 200 MB that only machines with an NVIDIA driver need. HUNCH_CUDA=1 asks for it anywhere, HUNCH_CUDA=0 nowhere. Without it
 * Hunch is built for the CPU, so what goes wrong here is said and stops nothing.
 */
export const cudaCompiler = {
  name: 'CUDA compiler',

  isDone() {
    const asked = process.env.HUNCH_CUDA;
    return nvcc() !== null || asked === '0' || !isLinux || process.arch !== 'x64' || (asked !== '1' && !hasNvidia());
  },

  async run() {
    const python = which('python3');
    try {
      if (!python) throw new Error('python3 is not there to fetch it with.');
      await fetchInto(python);
    } catch (error) {
      say(`  Hunch will be built without CUDA: ${error.message.split('\n')[0]}`);
    }
  },
};

async function fetchInto(python) {
  mkdirSync(sharedCache, { recursive: true });
  const fresh = mkdtempSync(join(sharedCache, 'cuda-'));
  try {
    progress('downloading');
    await exec(python, ['-m', 'pip', 'download', '--quiet', '--no-deps', '--dest', join(fresh, 'wheels'), ...wheels]);
    const unpacked = join(fresh, 'unpacked');
    mkdirSync(unpacked);
    for (const wheel of readdirSync(join(fresh, 'wheels'))) {
      progress(`unpacking ${wheel.split('-')[0]}`);
      await exec(python, ['-m', 'zipfile', '-e', join(fresh, 'wheels', wheel), unpacked]);
    }
    // A wheel's modes are lost in unpacking.
    const inside = join(unpacked, 'nvidia', 'cu13');
    for (const place of ['bin', join('nvvm', 'bin'), join('bin', 'crt')]) {
      const path = join(inside, place);
      if (!existsSync(path)) continue;
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        if (entry.isFile()) chmodSync(join(path, entry.name), 0o755);
      }
    }
    mkdirSync(dirname(folder), { recursive: true });
    rmSync(folder, { recursive: true, force: true });
    renameSync(unpacked, folder);
  } finally {
    rmSync(fresh, { recursive: true, force: true });
  }
}
