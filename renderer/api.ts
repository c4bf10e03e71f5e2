import type { HunchApi } from '../electron/contract/api';
import type { VerbInput } from '../electron/contract/channels';
import { HunchError } from '../electron/contract/errors';
import type { Envelope } from '../electron/contract/errors';
import type { AppEvent } from '../electron/contract/events';
import type { ReplyListener } from '../electron/contract/stream';

/** The only file that touches `window.api`. Each function resolves to the verb's value or throws a HunchError. */
declare global {
  interface Window {
    readonly api: HunchApi;
  }
}

async function open<T>(answer: Promise<Envelope<T>>): Promise<T> {
  const envelope = await answer;
  if (envelope.ok) return envelope.value;
  throw new HunchError(envelope.error.code, envelope.error.message);
}

export const api = {
  app: {
    info: () => open(window.api.app.info()),
    openLink: (url: string) => open(window.api.app.openLink({ url })),
  },
  settings: {
    get: () => open(window.api.settings.get()),
    set: (patch: VerbInput<'settings.set'>) => open(window.api.settings.set(patch)),
  },
  models: {
    list: () => open(window.api.models.list()),
    select: (modelId: string) => open(window.api.models.select({ modelId })),
    download: (modelId: string) => open(window.api.models.download({ modelId })),
    cancelDownload: (modelId: string) => open(window.api.models.cancelDownload({ modelId })),
    import: () => open(window.api.models.import()),
  },
  engine: {
    status: () => open(window.api.engine.status()),
    restart: () => open(window.api.engine.restart()),
    gpus: () => open(window.api.engine.gpus()),
  },
  sparsity: {
    state: () => open(window.api.sparsity.state()),
    calibrate: () => open(window.api.sparsity.calibrate()),
    cancelCalibration: () => open(window.api.sparsity.cancelCalibration()),
  },
  activity: {
    watch: (capture: VerbInput<'activity.watch'>) => open(window.api.activity.watch(capture)),
    reply: (input: VerbInput<'activity.reply'>) => open(window.api.activity.reply(input)),
    record: (source: string, index: number) => open(window.api.activity.record({ source, index })),
    neuron: (source: string, layer: number, neuron: number) =>
      open(window.api.activity.neuron({ source, layer, neuron })),
    rates: (source: string | null) => open(window.api.activity.rates({ source })),
    rerun: (request: VerbInput<'activity.rerun'>) => open(window.api.activity.rerun(request)),
    cancelRerun: () => open(window.api.activity.cancelRerun()),
    lens: (source: string, index: number) => open(window.api.activity.lens({ source, index })),
    residency: () => open(window.api.activity.residency()),
    save: (file: VerbInput<'activity.save'>) => open(window.api.activity.save(file)),
    open: () => open(window.api.activity.open()),
  },
  chats: {
    list: () => open(window.api.chats.list()),
    search: (query: string) => open(window.api.chats.search({ query })),
    create: () => open(window.api.chats.create()),
    get: (chatId: string) => open(window.api.chats.get({ chatId })),
    rename: (chatId: string, title: string) => open(window.api.chats.rename({ chatId, title })),
    configure: (patch: VerbInput<'chats.configure'>) => open(window.api.chats.configure(patch)),
    remove: (chatId: string) => open(window.api.chats.remove({ chatId })),
    restore: (chatId: string) => open(window.api.chats.restore({ chatId })),
    showBranch: (chatId: string, messageId: string) => open(window.api.chats.showBranch({ chatId, messageId })),
    export: (chatId: string, format: 'markdown' | 'json') => open(window.api.chats.export({ chatId, format })),
  },
  reply: {
    start: (input: VerbInput<'reply.start'>) => open(window.api.reply.start(input)),
    regenerate: (chatId: string, messageId: string) => open(window.api.reply.regenerate({ chatId, messageId })),
    continue: (chatId: string, messageId: string) => open(window.api.reply.continue({ chatId, messageId })),
    stop: (messageId: string) => open(window.api.reply.stop({ messageId })),
  },
  onEvent: (listener: (event: AppEvent) => void) => window.api.onEvent(listener),
  onReply: (replyId: string, listener: ReplyListener) => window.api.onReply(replyId, listener),
};
