import { fork, type ChildProcess } from 'node:child_process';
import path from 'node:path';
import { afterEach } from 'vitest';
import { defaultSampling, type EngineStatus } from '../../../electron/contract/entities';
import { HunchError } from '../../../electron/contract/errors';
import type { SparsityState } from '../../../electron/contract/sparsity';
import { CrashLog } from '../../../electron/engine/crashLog';
import { EngineHost, type HostOptions, type LoadSettings } from '../../../electron/engine/host';
import type { ReplyProgress, ReplyRequest } from '../../../electron/engine/runtime';
import { fromChildProcess } from '../../../electron/engine/transport';

const double = path.join(__dirname, '..', '..', 'fixtures', 'engineDouble.cjs');

const hosts: EngineHost[] = [];
afterEach(() => hosts.splice(0).forEach((host) => host.close()));

/** A host over real child processes that run the double. Model ids are their paths; "gone" cannot be found. */
export function startHost(options: Partial<HostOptions> = {}) {
  const statuses: EngineStatus[] = [];
  const sparsities: SparsityState[] = [];
  const children: ChildProcess[] = [];
  const log: string[] = [];
  const settings: LoadSettings = { threads: 0, contextLength: 4096, device: 'cpu', gpuBudget: 0, memoryBudget: 0 };
  const host = new EngineHost({
    fork: () => {
      const child = fork(double, { serialization: 'advanced' });
      children.push(child);
      return fromChildProcess(child);
    },
    findModel: async (id) => {
      if (id === 'gone') throw new HunchError('model-missing', 'Get it first.');
      return { id, name: id.toUpperCase(), path: id };
    },
    settings: () => settings,
    onStatus: (status) => statuses.push(status),
    onSparsity: (state) => sparsities.push(state),
    log: (line) => log.push(line),
    crashes: new CrashLog({ limit: 3, windowMs: 60_000, pausesMs: [10, 20] }),
    ...options,
  });
  hosts.push(host);
  const waitFor = async (state: EngineStatus['state']): Promise<EngineStatus> => {
    const deadline = Date.now() + 10_000;
    while (host.status.state !== state) {
      if (Date.now() > deadline) throw new Error(`still ${host.status.state}, not ${state}`);
      await sleep(5);
    }
    return host.status;
  };
  return { host, statuses, sparsities, children, log, settings, waitFor };
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export const request = (text: string, more: Partial<ReplyRequest> = {}): ReplyRequest => ({
  chatKey: 'chat',
  systemPrompt: '',
  messages: [{ role: 'user', text }],
  sampling: defaultSampling,
  ...more,
});

/** Collects a reply's text; `until` waits until it contains something. */
export function collect(): {
  onEvent: (event: ReplyProgress) => void;
  text: () => string;
  /** What the last `sparsity` event said. */
  made: () => string;
  until: (part: string) => Promise<void>;
} {
  let text = '';
  let made = '';
  return {
    onEvent: (event) => {
      if (event.type === 'text') text += event.text;
      if (event.type === 'sparsity') made = event.made;
    },
    text: () => text,
    made: () => made,
    until: async (part) => {
      const deadline = Date.now() + 10_000;
      while (!text.includes(part)) {
        if (Date.now() > deadline) throw new Error(`"${part}" did not come, only "${text}"`);
        await sleep(5);
      }
    },
  };
}
