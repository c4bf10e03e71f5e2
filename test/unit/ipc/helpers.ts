import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach } from 'vitest';
import type { VerbInput, VerbName, VerbOutput } from '../../../electron/contract/channels';
import type { EngineStatus, Message } from '../../../electron/contract/entities';
import type { Envelope } from '../../../electron/contract/errors';
import type { AppEvent } from '../../../electron/contract/events';
import type { ReplyEvent } from '../../../electron/contract/stream';
import { fromChildProcess } from '../../../electron/engine/transport';
import { createDispatch } from '../../../electron/ipc/dispatch';
import { catalogue } from '../../../electron/models/catalogue';
import { createServices, type Services } from '../../../electron/services';

/** Everything behind the window, in plain Node: real database, settings and library; the engine is the double. */
const double = path.join(__dirname, '..', '..', 'fixtures', 'engineDouble.cjs');
export const starter = catalogue[0]!;

export let home: string;
let open: Services[] = [];
beforeEach(() => {
  Object.assign(chosen, { file: null, asked: [] });
  home = mkdtempSync(path.join(tmpdir(), 'hunch-services-'));
  const models = path.join(home, 'models');
  mkdirSync(models);
  // A sparse file of the right size: what the library looks at.
  writeFileSync(path.join(models, starter.fileName), '');
  truncateSync(path.join(models, starter.fileName), starter.sizeBytes);
  writeFileSync(path.join(home, 'settings.json'), JSON.stringify({ defaultModelId: starter.id }));
});
afterEach(() => {
  open.splice(0).forEach((services) => services.close());
  rmSync(home, { recursive: true, force: true });
});

/** What the file dialogs answer; null cancels. */
export const chosen: { file: string | null; asked: string[] } = { file: null, asked: [] };

export function start() {
  const events: AppEvent[] = [];
  const streams: Record<string, ReplyEvent[]> = {};
  const services = createServices({
    info: { version: '1.2.3', dataFolder: home, modelsFolder: path.join(home, 'models') } as never,
    fork: () => fromChildProcess(fork(double, { serialization: 'advanced' })),
    broadcast: (event) => events.push(event),
    openStream: (id) => {
      const stream: ReplyEvent[] = (streams[id] = []);
      return (event) => stream.push(event);
    },
    applyTheme: () => {},
    askModelFile: async () => null,
    askSavePath: async (fileName) => {
      chosen.asked.push(fileName);
      return chosen.file;
    },
    askActivityFile: async () => chosen.file,
    confirmLink: async () => false,
    openExternal: async () => {},
    log: () => {},
  });
  open.push(services);
  const dispatch = createDispatch(
    services.handlers,
    () => true,
    () => {},
  );
  const own = { isMainWindow: true, isTopFrame: true, url: 'app://hunch/' };
  async function call<N extends VerbName>(verb: N, input?: VerbInput<N>): Promise<VerbOutput<N>> {
    // As IPC does it: only plain data passes, in both directions.
    const answer = structuredClone(await dispatch(own, verb, structuredClone(input))) as Envelope<VerbOutput<N>>;
    if (answer.ok) return answer.value;
    throw Object.assign(new Error(answer.error.message), answer.error);
  }
  const until = async <T>(look: () => T | undefined | false): Promise<T> => {
    const deadline = Date.now() + 10_000;
    for (;;) {
      const found = look();
      if (found) return found;
      if (Date.now() > deadline) throw new Error('it did not happen within 10 s');
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };
  const done = (id: string): Promise<Message> =>
    until(() => {
      const last = streams[id]?.at(-1);
      return last?.type === 'done' && last.message;
    });
  const engineStates = (): EngineStatus['state'][] =>
    events.flatMap((event) => (event.type === 'engine' ? [event.status.state] : []));
  const send = async (chatId: string, text: string, parentId: string | null = null) =>
    call('reply.start', { chatId, messageId: randomUUID(), parentId, text });
  const close = (): void => {
    open = open.filter((one) => one !== services);
    services.close();
  };
  return { services, call, send, done, until, events, streams, engineStates, close };
}
