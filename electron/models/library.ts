import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import type { ModelSummary } from '../contract/entities';
import { HunchError } from '../contract/errors';
import { embeddedModelsFolder } from '../paths';
import type { CatalogueModel } from './catalogue';
import { catalogue as builtIn } from './catalogue';
import type { DownloadOptions } from './download';
import { downloadModel } from './download';
import { readModelFile } from './gguf';
import type { ImportOptions } from './importFile';
import { importFile } from './importFile';

/** A model that can be opened. */
export interface ResolvedModel {
  id: string; // catalogue id, imported file's id, or the path that was given
  name: string;
  path: string;
  /** Of a model that comes with Hunch, whose own folder may be read only: where packs that are made for it go. */
  packFolder?: string;
}

/** The models folder: what is there, what the catalogue can bring, and what is wrong with a file. */
export class ModelLibrary {
  private readonly downloads = new Map<string, AbortController>();
  /** What imported files' headers said, by path, size and time: a header is parsed once, not at every look. */
  private readonly read = new Map<string, ModelSummary>();

  constructor(
    readonly folder: string,
    private readonly catalogue: readonly CatalogueModel[] = builtIn,
    private readonly embeddedFolder: string = embeddedModelsFolder(),
  ) {}

  /** The catalogue's models first, then imported files by name. */
  async list(): Promise<ModelSummary[]> {
    const known = await Promise.all(this.catalogue.map((model) => this.summarise(model)));
    return [...known, ...(await this.imported())];
  }

  /** A model by its id or by a file's path. Errors: not-found, model-missing (not downloaded), model-truncated. */
  async resolve(idOrPath: string): Promise<ResolvedModel> {
    const models = await this.list();
    const model = models.find(({ id }) => id === idOrPath);
    if (!model) {
      if (/[\\/]|\.gguf$/i.test(idOrPath)) {
        const file = path.resolve(idOrPath);
        return { id: file, name: path.basename(file).replace(/\.gguf$/i, ''), path: file };
      }
      const ids = models.map(({ id }) => id).join(', ');
      throw new HunchError(
        'not-found',
        `There is no model "${idOrPath}". Known: ${ids}. Or give the path of a .gguf file.`,
      );
    }
    if (model.state === 'absent' && this.isEmbedded(model.id)) throw this.embeddedMissing(model.name);
    if (model.state === 'absent' || model.state === 'downloading') {
      throw new HunchError(
        'model-missing',
        `${model.name} is not downloaded yet (${Math.ceil(model.sizeBytes / 1e6)} MB). Get it in the models list or with "hunch pull ${model.id}".`,
      );
    }
    const file = this.fileOf(model);
    // An imported file that is broken says itself, better, what is wrong when it is opened.
    if (model.state === 'broken' && model.source === 'catalogue') {
      throw new HunchError('model-truncated', `${model.name}: ${model.problem}`);
    }
    const packFolder = this.isEmbedded(model.id) ? { packFolder: this.folder } : {};
    return { id: model.id, name: model.name, path: file, ...packFolder };
  }

  /** Errors: those of downloadModel, not-found, busy. */
  async download(id: string, options: Omit<DownloadOptions, 'signal'> = {}): Promise<ModelSummary> {
    const model = this.fromCatalogue(id);
    if (model.embedded) {
      const there = await this.summarise(model);
      if (there.state !== 'available') throw this.embeddedMissing(model.name);
      return there;
    }
    if (this.downloads.has(id)) throw new HunchError('busy', `${model.name} is already being downloaded.`);
    const stop = new AbortController();
    this.downloads.set(id, stop);
    try {
      if ((await this.fileState(model)).state !== 'available') {
        await downloadModel(model, this.folder, { ...options, signal: stop.signal });
      }
    } finally {
      this.downloads.delete(id);
    }
    return this.summarise(model);
  }

  /** Ends a download; what was received is kept. Harmless when none runs. */
  cancelDownload(id: string): void {
    this.downloads.get(id)?.abort();
  }

  /** Takes a .gguf file into the folder. Errors: those of importFile. */
  async import(file: string, options: ImportOptions = {}): Promise<ModelSummary> {
    await mkdir(this.folder, { recursive: true });
    const name = await importFile(file, this.folder, options);
    const model = (await this.list()).find(({ fileName }) => fileName === name);
    if (!model) throw new HunchError('model-missing', `${name} vanished from ${this.folder} while it was imported.`);
    return model;
  }

  /**
   * Reads a catalogue model's whole file and compares its SHA-256.
   * Errors: not-found, model-missing, model-hash-mismatch, cancelled.
   */
  async verify(id: string, onProgress?: (readBytes: number, totalBytes: number) => void): Promise<void> {
    const model = this.fromCatalogue(id);
    const { path: file } = await this.resolve(id);
    const hash = createHash('sha256');
    let read = 0;
    for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) {
      hash.update(chunk as Buffer);
      read += (chunk as Buffer).length;
      onProgress?.(read, model.sizeBytes);
    }
    const found = hash.digest('hex');
    if (found !== model.sha256) {
      throw new HunchError(
        'model-hash-mismatch',
        `${file} is not the genuine ${model.name}: its SHA-256 is ${found} instead of ${model.sha256}. Delete it and get it again with "hunch pull ${id}".`,
      );
    }
  }

  private isEmbedded(id: string): boolean {
    return this.catalogue.some((model) => model.id === id && model.embedded === true);
  }

  private fileOf({ id, fileName }: { id: string; fileName: string }): string {
    return path.join(this.isEmbedded(id) ? this.embeddedFolder : this.folder, fileName);
  }

  private embeddedMissing(name: string): HunchError {
    return new HunchError(
      'model-missing',
      `${name} comes with Hunch, but its file is missing from ${this.embeddedFolder}. Install Hunch again, or choose another model.`,
    );
  }

  private fromCatalogue(id: string): CatalogueModel {
    const model = this.catalogue.find((candidate) => candidate.id === id);
    if (model) return model;
    const ids = this.catalogue.map((candidate) => candidate.id).join(', ');
    throw new HunchError('not-found', `The catalogue has no model "${id}". It has: ${ids}.`);
  }

  private async summarise(model: CatalogueModel): Promise<ModelSummary> {
    const { id, name, fileName, sizeBytes, quantization, license } = model;
    const state = await this.state(model);
    return { id, name, fileName, sizeBytes, quantization, license, ...state, source: 'catalogue' };
  }

  private async state(model: CatalogueModel): Promise<Pick<ModelSummary, 'state' | 'problem'>> {
    return this.downloads.has(model.id) ? { state: 'downloading', problem: null } : this.fileState(model);
  }

  private async fileState(model: CatalogueModel): Promise<Pick<ModelSummary, 'state' | 'problem'>> {
    const info = await stat(this.fileOf(model)).catch(() => null);
    if (!info) return { state: 'absent', problem: null };
    if (info.isFile() && info.size === model.sizeBytes) return { state: 'available', problem: null };
    const remedy = model.embedded ? 'Install Hunch again.' : 'Delete it and download the model again.';
    const problem = `${model.fileName} has ${info.size} bytes instead of ${model.sizeBytes}. ${remedy}`;
    return { state: 'broken', problem };
  }

  private async imported(): Promise<ModelSummary[]> {
    const names = await readdir(this.folder).catch(() => [] as string[]);
    const known = new Set(this.catalogue.map(({ fileName }) => fileName));
    const ids = new Set(this.catalogue.map(({ id }) => id));
    const summaries: ModelSummary[] = [];
    for (const fileName of names.filter((name) => /^[^.].*\.gguf$/i.test(name) && !known.has(name)).sort()) {
      const slug = fileName
        .replace(/\.gguf$/i, '')
        .toLowerCase()
        .replace(/[^a-z0-9._]+/g, '-')
        .slice(0, 150);
      let id = slug;
      for (let number = 2; ids.has(id); number++) id = `${slug}-${number}`;
      ids.add(id);
      summaries.push(await this.summariseImported(id, fileName));
    }
    return summaries;
  }

  private async summariseImported(id: string, fileName: string): Promise<ModelSummary> {
    const file = path.join(this.folder, fileName);
    const info = await stat(file).catch(() => null);
    const key = JSON.stringify([file, info?.size, info?.mtimeMs]);
    const known = this.read.get(key);
    if (known) return { ...known, id };
    const base = { id, fileName, source: 'imported' as const };
    let summary: ModelSummary;
    try {
      const { name, sizeBytes, quantization, license } = await readModelFile(file);
      summary = { ...base, name, sizeBytes, quantization, license, state: 'available', problem: null };
    } catch (error) {
      const problem = (error as Error).message;
      const [sizeBytes, quantization] = [info?.size ?? 0, 'unknown'];
      summary = { ...base, name: fileName, sizeBytes, quantization, license: null, state: 'broken', problem };
    }
    this.read.set(key, summary);
    return summary;
  }
}
