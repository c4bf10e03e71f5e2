import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { inRoot, stampFolder } from './paths.mjs';

/**
 * Hash of the content of files and folders, given relative to the root. What does not exist counts as absent, so
 * that its arrival changes the hash. Hidden files and build outputs never count.
 */
export function hashOf(paths, extra = '') {
  const hash = createHash('sha256').update(extra);
  for (const path of [...paths].sort()) hashPath(hash, path);
  return hash.digest('hex');
}

function hashPath(hash, path) {
  const full = inRoot(path);
  if (!existsSync(full)) return;
  const info = statSync(full);
  if (!info.isDirectory()) {
    // Reading a model's weights at each start would take longer than the start.
    if (info.size > 4e6) return void hash.update(`${path}\0${info.size}\0${info.mtimeMs}\0`);
    const content = readFileSync(full);
    hash.update(`${path}\0${content.length}\0`).update(content);
    return;
  }
  for (const name of readdirSync(full).sort()) {
    if (!name.startsWith('.') && name !== 'build' && name !== 'node_modules') hashPath(hash, `${path}/${name}`);
  }
}

export function hashOfFile(path) {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

export function readStamp(name) {
  try {
    return readFileSync(join(stampFolder, name), 'utf8');
  } catch {
    return null;
  }
}

export function writeStamp(name, value) {
  const file = join(stampFolder, name);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, value);
}
