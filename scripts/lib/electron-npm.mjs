import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { CommandError, exec } from './exec.mjs';
import { findElectron } from './electron-runtime.mjs';
import { watchGrowth } from './grow.mjs';
import { inRoot, sharedCache } from './paths.mjs';

const probeMs = 6000;
const stallMs = 30_000;

/**
 * Lets npm's `electron` package fetch its binary (checksums and mirrors are its own business). The zip is kept in the
 * shared cache, so another clone only unpacks it.
 * @returns {Promise<string | null>} why it did not work, or null
 */
export async function downloadWithNpm(version) {
  const cache = join(sharedCache, 'electron', version);
  let totalBytes = 0;
  if (!hasOwnSource()) {
    const found = await probe(releaseUrl(version), Date.now() + probeMs);
    if (found.refusal) return found.refusal;
    totalBytes = found.bytes;
  }
  mkdirSync(cache, { recursive: true });
  const temporary = mkdtempSync(join(cache, 'tmp-'));
  try {
    await watchGrowth(`Electron ${version}:`, temporary, totalBytes, stallMs, (signal) =>
      exec(process.execPath, [inRoot('node_modules', 'electron', 'install.js')], {
        env: { electron_config_cache: cache, TMPDIR: temporary },
        timeoutMs: 15 * 60_000,
        summary: (lines) => lines.filter((line) => /error|unsupported|cannot/i.test(line)).slice(0, 1),
        signal,
      }),
    );
  } catch (error) {
    if (error instanceof CommandError) return error.message.split('\n').slice(0, 2).join(' ');
    throw error;
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
  return findElectron() ? null : 'its installer ended well but left no executable';
}

/** A mirror, proxy or filled cache is configured: the quick look at the default address would say nothing about it. */
function hasOwnSource() {
  const names = ['ELECTRON_MIRROR', 'npm_config_electron_mirror', 'ELECTRON_CUSTOM_DIR', 'ELECTRON_GET_USE_PROXY'];
  return names.some((name) => process.env[name]);
}

const releaseUrl = (version) =>
  `https://github.com/electron/electron/releases/download/v${version}/electron-v${version}-${process.platform}-${process.arch}.zip`;

/** Follows redirects to the file itself and reads only its headers: an unreachable host is known in seconds. */
function probe(url, deadline, redirects = 5) {
  return new Promise((resolve) => {
    const left = Math.max(1, deadline - Date.now());
    const host = new URL(url).host;
    const timer = setTimeout(() => done({ refusal: `${host} did not answer within ${probeMs / 1000} s` }), left);
    const outgoing = request(url, { headers: { 'user-agent': 'hunch-setup' } }, (response) => {
      const { statusCode, headers } = response;
      response.destroy();
      if (statusCode >= 300 && statusCode < 400 && headers.location && redirects > 0) {
        return done(probe(new URL(headers.location, url).href, deadline, redirects - 1));
      }
      if (statusCode !== 200) return done({ refusal: `${host} answered ${statusCode}` });
      done({ bytes: Number(headers['content-length']) || 0 });
    });
    outgoing.on('error', (error) => done({ refusal: `${host} is not reachable (${error.code ?? error.message})` }));
    outgoing.end();
    function done(result) {
      clearTimeout(timer);
      outgoing.destroy();
      resolve(result);
    }
  });
}
