import { exec, which } from '../lib/exec.mjs';
import { installedPackages, isDebianLike, pickNames } from '../lib/debian.mjs';
import { isLinux, isRoot } from '../lib/paths.mjs';
import { StepError, progress, say } from '../lib/ui.mjs';

/** Programs, with the package that brings each; any provider on PATH will do. */
const buildTools = [
  { programs: ['g++', 'c++', 'clang++'], packages: ['g++'] },
  { programs: ['cmake'], packages: ['cmake'] },
  { programs: ['ninja'], packages: ['ninja-build'] },
  { programs: ['python3'], packages: ['python3'] },
  { programs: ['pip3', 'pip'], packages: ['python3-pip'] },
];
const virtualDisplayTools = [
  { programs: ['Xvfb'], packages: ['xvfb'] },
  { programs: ['xauth'], packages: ['xauth'] },
];
/** Libraries without a program, found by package name. */
const buildLibraries = [['doctest-dev'], ['libeigen3-dev']];
/** What Electron loads at run time. Alternatives: the name on newer releases first. */
const windowLibraries = [
  ['libgtk-3-0t64', 'libgtk-3-0'],
  ['libnss3'],
  ['libasound2t64', 'libasound2'],
  ['libgbm1'],
  ['libxss1'],
  ['libatk-bridge2.0-0t64', 'libatk-bridge2.0-0'],
];

/**
 * Compiler and build tools; with `window` Electron's libraries too, with `virtualDisplay` Xvfb.
 * @param {{window?: boolean, virtualDisplay?: boolean}} need
 */
export function systemPackages(need = {}) {
  return {
    name: 'System packages',
    isDone: () => missing(need).length === 0,
    run: () => install(need),
  };
}

/** @returns {string[][]} alternatives of package names */
function missing(need) {
  const tools = [...buildTools, ...(need.virtualDisplay && isLinux ? virtualDisplayTools : [])];
  const absent = tools.filter((tool) => !tool.programs.some(which)).map((tool) => tool.packages);
  // Elsewhere than on Debian, CMake and Electron themselves name a library that they miss.
  if (!isDebianLike()) return absent;
  const libraries = [...buildLibraries, ...(need.window ? windowLibraries : [])];
  const installed = installedPackages(libraries.flat());
  return [...absent, ...libraries.filter((names) => !names.some((name) => installed.has(name)))];
}

async function install(need) {
  const wanted = missing(need);
  if (!isDebianLike()) {
    const programs = wanted.map((names) => names[0]).join(', ');
    throw new StepError(`Not found on this system: ${programs}.`, `Install ${programs} and run the command again.`);
  }
  if (!isRoot) {
    throw new StepError(
      `Hunch needs packages of your system that are not installed, and only root can install them.`,
      `Run this, then the same command again:\n${aptCommand(pickNames(wanted))}`,
    );
  }
  const environment = { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' };
  const options = ['-y', '-q', '-o', 'DPkg::Lock::Timeout=300', '-o', 'APT::Status-Fd=3'];
  const apt = (args, timeoutMs) =>
    exec('apt-get', [...options, ...args], { env: environment, extraFd: true, timeoutMs, onLine: showStatus });
  let names = wanted.map((alternatives) => alternatives[0]);
  try {
    await apt(['update'], 5 * 60_000);
    names = pickNames(wanted);
    say(`  installing ${names.join(' ')}`);
    await apt(['install', '--no-install-recommends', ...names], 20 * 60_000);
  } catch (error) {
    throw new StepError(
      error.message,
      `Check the network and the package sources, or install them by hand:\n${aptCommand(names)}`,
      { cause: error },
    );
  }
  const still = missing(need);
  if (still.length > 0) {
    throw new StepError(
      `apt-get succeeded but these are still not found: ${still.map((alternatives) => alternatives[0]).join(', ')}.`,
      'Look at where they were installed and put that folder on PATH.',
    );
  }
}

const aptCommand = (names) =>
  `sudo apt-get update && sudo apt-get install -y --no-install-recommends ${names.join(' ')}`;

/** apt's machine-readable status: "dlstatus:1:42.5:Retrieving file 3 of 9" and the like. */
function showStatus(line) {
  const status = /^(?:dlstatus|pmstatus):[^:]*:([\d.]+):(.*)$/.exec(line);
  if (status) progress(`${Math.floor(Number(status[1]))} %  ${status[2]}`);
}
