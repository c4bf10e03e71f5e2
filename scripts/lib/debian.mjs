import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { output, which } from './exec.mjs';

const plainLocale = { LC_ALL: 'C' };

export const isDebianLike = () => which('dpkg-query') !== null && which('apt-get') !== null;

/** Which of these packages are installed. */
export function installedPackages(names) {
  // It prints the known ones even when it fails over an unknown name.
  const { stdout } = spawnSync('dpkg-query', ['-W', '-f=${Package} ${Status}\\n', ...names], { encoding: 'utf8' });
  const lines = (stdout ?? '').split('\n').filter((line) => line.endsWith(' install ok installed'));
  return new Set(lines.map((line) => line.split(' ')[0]));
}

/**
 * The first name of each alternative that apt can install here. Releases since Debian 13 and Ubuntu 24.04 carry a
 * `t64` suffix on libraries whose ABI changed with 64-bit time.
 * @param {string[][]} wanted alternatives, preferred first
 */
export function pickNames(wanted) {
  const policy = output('apt-cache', ['policy', ...wanted.flat()], plainLocale) ?? '';
  const available = new Set();
  let current = null;
  for (const line of policy.split('\n')) {
    const heading = /^(\S+):$/.exec(line);
    if (heading) current = heading[1];
    else if (/^\s+Candidate: (?!\(none\))/.test(line)) available.add(current);
  }
  return wanted.map((names) => names.find((name) => available.has(name)) ?? guess(names));
}

/** Without package lists (a fresh container), the release decides. */
function guess(names) {
  const release = readRelease();
  const isNew =
    (release.ID === 'debian' && (!release.VERSION_ID || Number(release.VERSION_ID) >= 13)) ||
    (release.ID === 'ubuntu' && Number(release.VERSION_ID) >= 24.04);
  return names.find((name) => name.endsWith('t64') === isNew) ?? names[0];
}

function readRelease() {
  try {
    const lines = readFileSync('/etc/os-release', 'utf8').split('\n');
    return Object.fromEntries(
      lines.map((line) => line.split('=')).map(([key, value]) => [key, (value ?? '').replaceAll('"', '')]),
    );
  } catch {
    return {};
  }
}
