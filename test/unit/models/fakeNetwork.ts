import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { connect } from 'node:net';
import { Agent } from 'undici';

export interface FakeNetwork {
  dispatcher: Agent;
  /** 'host path range' of each request, in order. */
  requests: string[];
  close(): Promise<void>;
}

/**
 * Every https host leads to one local server, in plain text: the product's client, redirects and ranges are real, only
 * the wire is not. A host named `down.*` refuses connections, `silent.*` accepts and never answers.
 */
export async function fakeNetwork(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<FakeNetwork> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    const { host, range } = request.headers;
    requests.push([host, request.url, ...(range ? [range] : [])].join(' '));
    if (!host?.startsWith('silent.')) answer(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const dispatcher = new Agent({
    connect: ({ hostname }, callback) => {
      if (hostname.startsWith('down.')) {
        callback(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }), null);
        return;
      }
      const socket = connect(port, '127.0.0.1');
      socket.once('connect', () => callback(null, socket));
      socket.once('error', (error) => callback(error, null));
    },
  });
  return {
    dispatcher,
    requests,
    close: async () => {
      await dispatcher.destroy();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** Serves `content` with ranges; `limit` breaks the connection after that many bytes. */
export function serve(
  request: IncomingMessage,
  response: ServerResponse,
  content: Buffer,
  { limit = Infinity, ranges = true } = {},
): void {
  const from = ranges ? Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0) : 0;
  const resumed = ranges && request.headers.range !== undefined;
  response.writeHead(resumed ? 206 : 200, {
    'content-length': content.length - from,
    ...(resumed ? { 'content-range': `bytes ${from}-${content.length - 1}/${content.length}` } : {}),
  });
  const part = content.subarray(from, Math.min(content.length, from + limit));
  if (part.length === content.length - from) response.end(part);
  else response.write(part, () => setTimeout(() => response.destroy(), 30));
}
