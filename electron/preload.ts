import { contextBridge, ipcRenderer } from 'electron';
import type { HunchApi } from './contract/api';
import { eventChannel, invokeChannel, replyPortChannel, verbNames } from './contract/channelNames';
import type { AppEvent } from './contract/events';
import type { ReplyEvent } from './contract/stream';
import { ReplyStreams } from './replyStreams';

/** Runs sandboxed beside the page. The page gets one function per verb and two subscriptions: no channel, no event object. */
const calls: Record<string, Record<string, (input?: unknown) => Promise<unknown>>> = {};
for (const verb of verbNames) {
  const [domain, action] = verb.split('.') as [string, string];
  (calls[domain] ??= {})[action] = (input) => ipcRenderer.invoke(invokeChannel, verb, input);
}

const eventListeners = new Set<(event: AppEvent) => void>();
ipcRenderer.on(eventChannel, (_event, event: AppEvent) => {
  for (const listener of eventListeners) listener(event);
});

const streams = new ReplyStreams();
ipcRenderer.on(replyPortChannel, ({ ports }, { replyId }: { replyId: string }) => {
  const port = ports[0];
  if (!port) return;
  streams.open(replyId);
  port.onmessage = ({ data }: MessageEvent<ReplyEvent>) => {
    streams.receive(replyId, data);
    if (data.type === 'done') port.close();
  };
});

const subscriptions: Pick<HunchApi, 'onEvent' | 'onReply'> = {
  onEvent: (listener) => {
    // A wrapper each: the same function subscribed twice is two subscriptions.
    const own = (event: AppEvent): void => listener(event);
    eventListeners.add(own);
    return () => void eventListeners.delete(own);
  },
  onReply: (replyId, listener) => streams.listen(replyId, listener),
};

contextBridge.exposeInMainWorld('api', { ...calls, ...subscriptions });
