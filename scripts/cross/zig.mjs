import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec, which } from '../lib/exec.mjs';
import { watchGrowth } from '../lib/grow.mjs';
import { isWindows, sharedCache } from '../lib/paths.mjs';
import { StepError, say } from '../lib/ui.mjs';

/** Zig brings a C++ compiler with the headers and libraries of Windows and macOS. Its wheels by their SHA-256. */
const version = '0.17.1';
const wheels = [
  'ea6cc5d87b033cf0aedfbc8f9549a908cae6c50ac31f1698188fa48a74524b54', // Linux x64
  'b7c5f02fccd40f89b999ee16a1f5ddced56e6182370f8affe494bcf8a28cf07e', // Linux arm64
  '4e0b4b9c02b8d0d220e9948010f860b62ff11d96abb39762eca5fa2ef3f7bc97', // macOS x64
  '09953b6af7f64168b915180a42774f520f92d86ef6331b28e33915c7e1f0bb23', // macOS arm64
  '69c3dfc3aff6a297ec4017aa904782c0e450eb988982d7f675d83edce27526fb', // Windows x64
];
const wheelBytes = 101e6;

/**
 * Zig's program: from HUNCH_ZIG, from the cache, or fetched now.
 * @returns {Promise<string>}
 */
export async function findZig() {
  const chosen = process.env.HUNCH_ZIG;
  if (chosen) {
    if (!existsSync(chosen)) {
      throw new StepError(
        `HUNCH_ZIG names ${chosen}, which does not exist.`,
        'Point it at the zig program, or unset it.',
      );
    }
    return chosen;
  }
  const home = join(sharedCache, `zig-${version}`);
  const program = join(home, 'ziglang', isWindows ? 'zig.exe' : 'zig');
  if (!existsSync(program)) await install(home);
  return program;
}

async function install(home) {
  if (!which('python3'))
    throw new StepError('python3 is not installed.', 'Install python3 with pip, or set HUNCH_ZIG.');
  say(`  Zig ${version}, once: 101 MB to download, 350 MB unpacked`);
  mkdirSync(sharedCache, { recursive: true });
  const work = mkdtempSync(join(sharedCache, 'tmp-'));
  try {
    const wanted = join(work, 'wanted.txt');
    writeFileSync(wanted, `ziglang==${version} ${wheels.map((sum) => `--hash=sha256:${sum}`).join(' ')}\n`);
    const flags = [
      '--no-deps',
      '--only-binary=:all:',
      '--require-hashes',
      '--no-compile',
      '--no-cache-dir',
      '--no-input',
    ];
    await watchGrowth(`Zig ${version}:`, work, wheelBytes, 120_000, (signal) =>
      exec('python3', ['-m', 'pip', 'install', ...flags, '-r', wanted, '--target', join(work, 'zig')], {
        env: { TMPDIR: work, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_ROOT_USER_ACTION: 'ignore' },
        timeoutMs: 30 * 60_000,
        tailLines: 4,
        signal,
      }),
    );
    rmSync(home, { recursive: true, force: true });
    renameSync(join(work, 'zig'), home);
  } catch (error) {
    throw new StepError(
      `Zig could not be got: ${error.message}`,
      'Check that the Python package index can be reached (python3 -m pip download six), or set HUNCH_ZIG to a zig program.',
      { cause: error },
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}
