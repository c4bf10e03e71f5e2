import { readFile } from 'node:fs/promises';
import { protocol } from 'electron';
import { appScheme, contentSecurityPolicy, contentType, resolveAsset } from './assets';

interface Answer {
  status: number;
  type: string;
  body: Buffer;
}

/** Must run before the app is ready. */
export function declareAppScheme(): void {
  protocol.registerSchemesAsPrivileged([{ scheme: appScheme, privileges: { standard: true, secure: true } }]);
}

/** Serves `app://hunch/…` from the folder of the built page. */
export function serveAppScheme(root: string): void {
  const headers = (answer: Answer): Record<string, string> => ({
    'Content-Type': answer.type,
    'Content-Security-Policy': contentSecurityPolicy,
    'X-Content-Type-Options': 'nosniff',
    'Cache-Control': 'no-cache',
  });
  // Electron 25 brought `handle`; the older runtime that development may use has only the call that preceded it.
  if (typeof protocol.handle === 'function') {
    protocol.handle(appScheme, async ({ url }) => {
      const answer = await answerTo(root, url);
      return new Response(new Uint8Array(answer.body), { status: answer.status, headers: headers(answer) });
    });
    return;
  }
  const older = protocol as unknown as {
    registerBufferProtocol(
      scheme: string,
      handler: (
        request: { url: string },
        respond: (response: {
          statusCode: number;
          mimeType: string;
          headers: Record<string, string>;
          data: Buffer;
        }) => void,
      ) => void,
    ): boolean;
  };
  older.registerBufferProtocol(appScheme, ({ url }, respond) => {
    void answerTo(root, url).then((answer) =>
      respond({
        statusCode: answer.status,
        mimeType: answer.type.split(';')[0]!,
        headers: headers(answer),
        data: answer.body,
      }),
    );
  });
}

async function answerTo(root: string, url: string): Promise<Answer> {
  const file = resolveAsset(root, url);
  if (file !== null) {
    try {
      return { status: 200, type: contentType(file), body: await readFile(file) };
    } catch {
      // Answered below: a page may not learn why a file cannot be read.
    }
  }
  return { status: 404, type: 'text/plain; charset=utf-8', body: Buffer.from('Not found') };
}
