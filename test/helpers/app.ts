import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { _electron, type ElectronApplication, type Page } from 'playwright-core';
import { defaultSampling, type Settings } from '../../electron/contract/entities';
import { modelsFolder } from '../../electron/paths';
import { findElectron } from '../../scripts/lib/electron-runtime.mjs';
import { killFamily } from './processes';

export interface LaunchOptions {
  /** Data folder; a fresh temporary one by default, which `close` removes. Pass one to start again on the same data. */
  home?: string;
  /** Models folder; this machine's own by default, where the set-up put the starter model. */
  models?: string;
  env?: Record<string, string>;
  /** Settings in the data folder before the start; the rest keeps its defaults. */
  settings?: Partial<Settings>;
  args?: string[];
  /** Scripts that the main process loads before the app (test/helpers/hooks). */
  hooks?: string[];
}

export interface RunningApp {
  app: ElectronApplication;
  page: Page;
  home: string;
  /** What the app wrote to its standard output and error so far. */
  log(): string;
  /** Ends the app as a person would; by force after 10 s. Removes the data folder unless it was passed in. */
  close(): Promise<void>;
  /** kill -9 on all of the app's processes at once. The data folder stays. */
  kill(): Promise<void>;
}

export const root = path.dirname(path.dirname(path.dirname(fileURLToPath(import.meta.url))));

/** Stock SmolLM2: most window tests are about what happens when a model is absent, broken or in the models folder. */
export const stockModelId = 'smollm2-135m-instruct-q4_1';

export function temporaryHome(): string {
  return mkdtempSync(path.join(tmpdir(), 'hunch-test-'));
}

/** The likeliest token each time: the same reply in every run, and never a long one. */
export const greedy: Partial<Settings> = { defaultSampling: { ...defaultSampling, temperature: 0, maxTokens: 200 } };

/** Always the same reply on one kind of processor, and never a long one. */
export const repeatable: Partial<Settings> = { defaultSampling: { ...defaultSampling, seed: 2, maxTokens: 200 } };

/** Always the same replies; a story goes on, repeating itself, until it is stopped, however fast the machine is. */
export const endless: Partial<Settings> = {
  defaultSampling: { ...defaultSampling, temperature: 0, repeatPenalty: 1, maxTokens: 3000 },
};

/** Starts the built app in real Electron and waits for its window. */
export async function launchApp(options: LaunchOptions = {}): Promise<RunningApp> {
  const runtime = findElectron();
  if (!runtime) throw new Error('Electron is not set up: run `npm run setup` first.');
  const home = options.home ?? temporaryHome();
  const settingsFile = path.join(home, 'settings.json');
  if (options.settings || !existsSync(settingsFile)) {
    writeFileSync(settingsFile, JSON.stringify({ defaultModelId: stockModelId, ...options.settings }));
  }
  const hooks = (options.hooks ?? []).flatMap((name) => ['-r', path.join(root, 'test', 'helpers', 'hooks', name)]);
  const inherited = Object.entries(process.env).filter(([name, value]) => value !== undefined && !isTestRunners(name));
  const app = await _electron
    .launch({
      executablePath: runtime.executable,
      args: ['--disable-gpu', ...(options.args ?? []), ...hooks, root],
      cwd: root,
      env: {
        ...(Object.fromEntries(inherited) as Record<string, string>),
        HUNCH_HOME: home,
        HUNCH_MODELS: options.models ?? modelsFolder(),
        ...options.env,
      },
      timeout: 60_000,
    })
    .catch(rethrowShort);
  const log = collectLog(app);
  const ended = new Promise<void>((resolve) => app.process().once('exit', () => resolve()));
  const running = {
    app,
    home,
    log,
    async close() {
      const force = setTimeout(() => app.process().kill('SIGKILL'), 10_000);
      await app.close().catch(() => app.process().kill('SIGKILL'));
      await ended;
      clearTimeout(force);
      if (!options.home) rmSync(home, { recursive: true, force: true, maxRetries: 5 });
    },
    async kill() {
      await killFamily(app.process().pid!);
      await ended;
    },
  };
  try {
    const page = await app.firstWindow({ timeout: 60_000 });
    page.setDefaultTimeout(60_000); // the machine may be busy; nothing is expected to take that long
    return { ...running, page };
  } catch (error) {
    await running.close();
    throw new Error(`The app opened no window. It wrote:\n${log()}`, { cause: error });
  }
}

/** Playwright's error holds everything that Chromium wrote. */
function rethrowShort(error: Error): never {
  const lines = error.message.replace(/\u001b\[[0-9;]*m/g, '').split('\n');
  const shown = lines.length > 24 ? [...lines.slice(0, 12), '…', ...lines.slice(-12)] : lines;
  throw new Error(`Electron did not start. ${shown.join('\n')}`, { cause: error });
}

/** Variables that would change how the app behaves: it must run as it does for a person. */
function isTestRunners(name: string): boolean {
  return name === 'ELECTRON_RUN_AS_NODE' || name === 'NODE_ENV' || name === 'TEST' || name.startsWith('VITEST');
}

function collectLog(app: ElectronApplication): () => string {
  let text = '';
  for (const stream of [app.process().stdout, app.process().stderr]) {
    stream?.on('data', (chunk: Buffer) => (text = (text + chunk.toString()).slice(-20_000)));
  }
  return () => text;
}
