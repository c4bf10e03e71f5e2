import { readFileSync } from 'node:fs';
import { arch, cpus, loadavg, platform, release, totalmem } from 'node:os';
import { output } from '../lib/exec.mjs';
import { root } from '../lib/paths.mjs';

/** What the figures depend on besides the programs. */
export function describeMachine() {
  const processors = cpus();
  return {
    cpu: processors[0]?.model.trim() ?? 'unknown',
    logicalCores: processors.length,
    memoryBytes: totalmem(),
    system: `${platform()} ${release()} ${arch()}`,
    hugePages: /\[(\w+)\]/.exec(readText('/sys/kernel/mm/transparent_hugepage/enabled'))?.[1] ?? null,
    node: process.versions.node,
    load: Number(loadavg()[0].toFixed(2)), // before the start, over a minute
  };
}

function readText(file) {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

const git = (...args) => output('git', ['-C', root, ...args]);

export function describeCommit() {
  return {
    commit: git('rev-parse', 'HEAD')?.trim() ?? 'unknown',
    dirty: (git('status', '--porcelain') ?? '') !== '', // files differ from the commit
  };
}
