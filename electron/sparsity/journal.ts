import { existsSync, readFileSync, rmSync } from 'node:fs';
import { replaceFile } from '../files';

/** What a long measurement has found so far, by name, in a file: a run that was stopped goes on where it was. */
export class Journal {
  private readonly results: Map<string, unknown>;
  private savedAt = performance.now();

  /** `identity`: what the results hold for (model, settings); results of anything else are dropped. */
  constructor(
    private readonly file: string,
    private readonly identity: string,
  ) {
    this.results = new Map(Object.entries(read(file, identity)));
  }

  has(name: string): boolean {
    return this.results.has(name);
  }

  /** The result of this name, made now if there is none. Results must be plain data. */
  async remember<T>(name: string, make: () => Promise<T>): Promise<T> {
    if (this.results.has(name)) return this.results.get(name) as T;
    const result = await make();
    this.results.set(name, result);
    if (performance.now() - this.savedAt > 5000) this.save();
    return result;
  }

  /** Errors: disk-full, internal (cannot be written). */
  save(): void {
    replaceFile(this.file, JSON.stringify({ identity: this.identity, results: Object.fromEntries(this.results) }));
    this.savedAt = performance.now();
  }

  remove(): void {
    rmSync(this.file, { force: true });
  }
}

function read(file: string, identity: string): Record<string, unknown> {
  if (!existsSync(file)) return {};
  try {
    const content = JSON.parse(readFileSync(file, 'utf8')) as { identity?: unknown; results?: unknown };
    const usable = content.identity === identity && typeof content.results === 'object' && content.results !== null;
    return usable ? (content.results as Record<string, unknown>) : {};
  } catch {
    return {}; // half a file says nothing; everything is measured again
  }
}
