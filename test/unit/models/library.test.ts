import { createHash } from 'node:crypto';
import { linkSync, mkdtempSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { catalogue, defaultModelId, parseCatalogue } from '../../../electron/models/catalogue';
import type { CatalogueModel } from '../../../electron/models/catalogue';
import { ModelLibrary } from '../../../electron/models/library';
import { fakeNetwork, serve } from './fakeNetwork';
import { ggufBytes, tinyLlama, writeModel } from './ggufFile';

const content = ggufBytes(tinyLlama());
const known: CatalogueModel = {
  ...{ id: 'tiny', name: 'Tiny Model', fileName: 'Tiny.Q4_1.gguf', quantization: 'Q4_1', license: 'MIT' },
  ...{ sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') },
  sources: [{ type: 'https', url: 'https://one.test/tiny.gguf' }],
};

let folder: string;
let library: ModelLibrary;
const put = (name: string, bytes: Buffer = content): void => writeFileSync(path.join(folder, name), bytes);

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'hunch-library-'));
  library = new ModelLibrary(folder, [known]);
});

describe('a model that comes with Hunch', () => {
  const embedded: CatalogueModel = { ...known, id: 'ours', fileName: 'Ours.gguf', embedded: true, sources: [] };

  it('is opened where Hunch lies, never downloaded', async () => {
    const ours = mkdtempSync(path.join(tmpdir(), 'hunch-embedded-'));
    writeFileSync(path.join(ours, embedded.fileName), content);
    const both = new ModelLibrary(folder, [known, embedded], ours);
    expect(await both.list()).toMatchObject([{ state: 'absent' }, { id: 'ours', state: 'available' }]);
    // What is measured on it is kept with the person's models: its own folder may be read only.
    expect(await both.resolve('ours')).toMatchObject({ path: path.join(ours, 'Ours.gguf'), packFolder: folder });
    expect(await both.download('ours')).toMatchObject({ state: 'available' });
    await both.verify('ours');
    expect(readdirSync(folder)).toEqual([]);
  });

  it('says so when its file is missing or cut off', async () => {
    const empty = mkdtempSync(path.join(tmpdir(), 'hunch-embedded-'));
    const without = new ModelLibrary(folder, [embedded], empty);
    const missing = {
      code: 'model-missing',
      message: expect.stringMatching(/comes with Hunch.*missing.*Install Hunch/),
    };
    await expect(without.resolve('ours')).rejects.toMatchObject(missing);
    await expect(without.download('ours')).rejects.toMatchObject(missing);
    writeFileSync(path.join(empty, embedded.fileName), content.subarray(0, 99));
    const cut = { code: 'model-truncated', message: expect.stringContaining('Install Hunch again') };
    await expect(without.resolve('ours')).rejects.toMatchObject(cut);
  });
});

describe('the models folder', () => {
  it('lists a catalogue model as absent, available or broken', async () => {
    const state = async (): Promise<unknown> => (await library.list())[0];
    expect(await state()).toMatchObject({ id: 'tiny', state: 'absent', source: 'catalogue', license: 'MIT' });
    put(known.fileName);
    expect(await state()).toMatchObject({ state: 'available', problem: null });
    put(known.fileName, content.subarray(0, 1000));
    expect(await state()).toMatchObject({ state: 'broken', problem: expect.stringContaining('1000 bytes instead') });
  });

  it('lists imported files with what their headers say, broken ones with why', async () => {
    put('My Model (1).gguf');
    put('my-model-1-.gguf', Buffer.from('GGML'));
    put('.hidden.gguf');
    put('notes.txt');
    put('other.gguf.part');
    const [, first, second, ...rest] = await library.list();
    expect(first).toMatchObject({
      id: 'my-model-1-',
      name: 'Tiny',
      state: 'available',
      license: 'mit',
      source: 'imported',
    });
    expect(second).toMatchObject({ id: 'my-model-1--2', state: 'broken', problem: expect.stringContaining('GGUF') });
    expect(rest).toEqual([]);
  });

  it('is empty, not an error, while the folder does not exist', async () => {
    expect(await new ModelLibrary(path.join(folder, 'none'), [known]).list()).toMatchObject([{ state: 'absent' }]);
  });
});

describe('resolving a model', () => {
  it('finds ids and paths', async () => {
    put(known.fileName);
    put('mine.gguf');
    expect(await library.resolve('tiny')).toEqual({
      ...{ id: 'tiny', name: 'Tiny Model', path: path.join(folder, known.fileName) },
    });
    expect((await library.resolve('mine')).path).toBe(path.join(folder, 'mine.gguf'));
    expect((await library.resolve('./x/Y.gguf')).path).toBe(path.resolve('x/Y.gguf'));
  });

  it('says what to do about absent, broken and unknown ones', async () => {
    await expect(library.resolve('tiny')).rejects.toMatchObject({
      code: 'model-missing',
      message: expect.stringContaining('hunch pull tiny'),
    });
    put(known.fileName, content.subarray(0, 99));
    await expect(library.resolve('tiny')).rejects.toMatchObject({ code: 'model-truncated' });
    await expect(library.resolve('gpt-5')).rejects.toMatchObject({
      code: 'not-found',
      message: expect.stringContaining('Known: tiny'),
    });
  });
});

describe('importing', () => {
  it('links the file into the folder, once', async () => {
    const source = writeModel(tinyLlama(), 'Fine.gguf');
    const model = await library.import(source);
    expect(model).toMatchObject({ id: 'fine', fileName: 'Fine.gguf', state: 'available' });
    expect(statSync(path.join(folder, 'Fine.gguf')).ino).toBe(statSync(source).ino);
    expect(await library.import(source)).toEqual(model);
    expect(await library.import(path.join(folder, 'Fine.gguf'))).toEqual(model);
    expect(readdirSync(folder)).toEqual(['Fine.gguf']);
  });

  it('never replaces another file of the same name', async () => {
    put('Fine.gguf', Buffer.concat([content, Buffer.alloc(32)]));
    expect(await library.import(writeModel(tinyLlama(), 'fine.gguf'))).toMatchObject({ fileName: 'fine-2.gguf' });
    expect(statSync(path.join(folder, 'Fine.gguf')).size).toBe(content.length + 32);
  });

  it('refuses what is not a sound model', async () => {
    await expect(library.import(writeModel(Buffer.from('hello')))).rejects.toMatchObject({ code: 'model-not-gguf' });
    await expect(library.import('/nowhere.gguf')).rejects.toMatchObject({ code: 'model-missing' });
    expect(readdirSync(folder)).toEqual([]);
  });
});

describe('verifying', () => {
  it('tells the genuine file from one of the same size', async () => {
    put(known.fileName);
    await library.verify('tiny');
    const wrong = Buffer.from(content);
    wrong[wrong.length - 1]! ^= 1;
    put(known.fileName, wrong);
    await expect(library.verify('tiny')).rejects.toMatchObject({
      code: 'model-hash-mismatch',
      message: expect.stringContaining('hunch pull tiny'),
    });
    await expect(library.verify('other')).rejects.toMatchObject({ code: 'not-found' });
  });
});

describe('downloading', () => {
  it('shows the state meanwhile, refuses a second one, can be cancelled and be done', async () => {
    let hold = true;
    const network = await fakeNetwork((request, response) => {
      if (hold) response.writeHead(200, { 'content-length': content.length }).write(content.subarray(0, 100));
      else serve(request, response, content);
    });
    const { dispatcher } = network;
    let begun = (): void => {};
    const receiving = new Promise<void>((resolve) => (begun = resolve));
    const running = library.download('tiny', { dispatcher, onProgress: () => begun() });
    await receiving;
    expect((await library.list())[0]).toMatchObject({ state: 'downloading' });
    await expect(library.download('tiny', { dispatcher })).rejects.toMatchObject({ code: 'busy' });
    library.cancelDownload('tiny');
    await expect(running).rejects.toMatchObject({ code: 'cancelled' });
    hold = false;
    expect(await library.download('tiny', { dispatcher })).toMatchObject({ state: 'available' });
    expect(readFileSync(path.join(folder, known.fileName)).equals(content)).toBe(true);
    const asked = network.requests.length;
    await library.download('tiny', { dispatcher }); // it is there
    expect(network.requests.length).toBe(asked);
    await network.close();
  });

  it('replaces a broken file without touching another link to it', async () => {
    const network = await fakeNetwork((request, response) => serve(request, response, content));
    put('kept.bin', Buffer.from('old'));
    linkSync(path.join(folder, 'kept.bin'), path.join(folder, known.fileName));
    await library.download('tiny', { dispatcher: network.dispatcher });
    expect(readFileSync(path.join(folder, 'kept.bin'), 'utf8')).toBe('old');
    await network.close();
  });
});

describe('the catalogue', () => {
  it('has stock SmolLM2 with its known size and hash', () => {
    expect(catalogue[0]!.id).toBe('smollm2-135m-instruct-q4_1');
    expect(catalogue[0]).toMatchObject({
      sizeBytes: 98362432,
      sha256: 'b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53',
    });
    expect(catalogue[0]!.sources.map(({ type }) => type)).toEqual(['https', 'pypi']);
  });

  it('starts with the model that comes with Hunch', () => {
    const embedded = catalogue.filter((model) => model.embedded);
    expect(embedded.map(({ id }) => id)).toEqual([defaultModelId]);
  });

  it('refuses plain http, paths in file names, doubled ids and anything unknown', () => {
    const refused = (change: object): void => {
      expect(() => parseCatalogue({ version: 1, models: [{ ...known, ...change }] })).toThrow(/catalogue is wrong at/);
    };
    refused({ sources: [{ type: 'https', url: 'http://one.test/x' }] });
    refused({ sources: [] });
    refused({ fileName: '../x.gguf' });
    refused({ sha256: 'abc' });
    refused({ surprise: 1 });
    expect(() => parseCatalogue({ version: 1, models: [known, known] })).toThrow(/share an id/);
    expect(parseCatalogue({ version: 1, models: [known] })).toEqual([known]);
  });
});
