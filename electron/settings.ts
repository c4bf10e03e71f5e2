import { existsSync, readFileSync, renameSync } from 'node:fs';
import { defaultSampling, settingsSchema, type Settings } from './contract/entities';
import type { ErrorBody } from './contract/errors';
import { defaultSparsity } from './contract/sparsity';
import { replaceFile } from './files';
import { defaultModelId } from './models/catalogue';

export const defaultSettings: Settings = {
  theme: 'system',
  threads: 0,
  contextLength: 4096,
  device: 'auto',
  gpuBudgetMb: null,
  memoryBudgetMb: null,
  defaultModelId,
  defaultSystemPrompt: '',
  defaultSampling,
  defaultSparsity,
  sidebarOpen: true,
  panelOpen: false,
  activityRingMb: 256,
  activityKeepMb: 512,
  activityAuditEvery: 16,
};

/**
 * Settings as a JSON file that a person may edit. A value that does not fit is replaced by its default, alone, and
 * named in `notices`; keys this version does not know are kept. Changes are written to a new file that replaces the old one.
 */
export class SettingsFile {
  readonly notices: ErrorBody[] = [];
  private current: Settings = defaultSettings;
  private unknownKeys: Record<string, unknown> = {};

  constructor(
    private readonly path: string,
    private readonly now: () => Date = () => new Date(),
  ) {
    this.load();
  }

  get(): Settings {
    return this.current;
  }

  /** Saves first, then takes effect. Errors: disk-full, internal (cannot be written). */
  set(change: Partial<Settings>): Settings {
    const next = settingsSchema.parse({ ...this.current, ...change });
    replaceFile(this.path, JSON.stringify({ ...this.unknownKeys, ...next }, null, 2) + '\n');
    this.current = next;
    return next;
  }

  private load(): void {
    const stored = this.readFile();
    if (stored === null) return;
    const values: Record<string, unknown> = {};
    for (const key of Object.keys(defaultSettings) as (keyof Settings)[]) {
      values[key] = defaultSettings[key];
      if (!(key in stored)) continue;
      const parsed = settingsSchema.shape[key].safeParse(stored[key]);
      if (parsed.success) values[key] = parsed.data;
      else
        this.report(
          `The setting “${key}” in ${this.path} has a value that does not fit (${parsed.error.issues[0]?.message ?? 'invalid'}), so its default is used. Choose a new value in the settings.`,
        );
    }
    this.current = values as Settings;
    for (const [key, value] of Object.entries(stored)) if (!(key in defaultSettings)) this.unknownKeys[key] = value;
  }

  private readFile(): Record<string, unknown> | null {
    if (!existsSync(this.path)) return null;
    try {
      const value: unknown = JSON.parse(readFileSync(this.path, 'utf8'));
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    } catch (error) {
      if (!(error instanceof SyntaxError)) {
        this.report(
          `The settings in ${this.path} could not be read (${String(error)}), so the defaults are used. Check the file's permissions.`,
        );
        return null;
      }
    }
    const aside = `${this.path}.damaged-${this.now().toISOString().replace(/[:.]/g, '-')}`;
    renameSync(this.path, aside);
    this.report(`The settings file was not valid JSON. Hunch kept it as ${aside} and uses the defaults.`);
    return null;
  }

  private report(message: string): void {
    this.notices.push({ code: 'bad-request', message });
  }
}
