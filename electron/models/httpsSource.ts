import type { Dispatcher } from 'undici';
import { Agent, request } from 'undici';
import type { CatalogueModel, HttpsSource } from './catalogue';
import type { SourceContext } from './download';
import { SourceError, networkReason, onDisk } from './downloadErrors';
import { PartFile } from './partFile';

const connectMs = 8000;
const headersMs = 10_000;
const stallMs = 20_000;
const redirects = 5;
const attempts = 4; // each further one only after new bytes came

let agent: Agent | undefined;

type Response = Dispatcher.ResponseData;

async function get(source: HttpsSource, from: number, { signal, dispatcher }: SourceContext): Promise<Response> {
  let url = new URL(source.url);
  for (let hop = 0; hop <= redirects; hop++) {
    if (url.protocol !== 'https:') throw new SourceError(`it redirects to ${url.protocol}//, which is not secure`);
    const response = await request(url, {
      dispatcher: dispatcher ?? (agent ??= new Agent({ connect: { timeout: connectMs } })),
      signal,
      headersTimeout: headersMs,
      bodyTimeout: stallMs,
      headers: { 'accept-encoding': 'identity', ...(from > 0 ? { range: `bytes=${from}-` } : {}) },
    });
    const { location } = response.headers;
    if (response.statusCode < 300 || response.statusCode >= 400 || typeof location !== 'string') return response;
    await response.body.dump();
    url = new URL(location, url);
  }
  throw new SourceError('it redirects too often');
}

/** How many bytes the whole file has according to the answer, null where it does not say. */
function announcedSize({ statusCode, headers }: Response): number | null {
  const range = /\/(\d+)$/.exec(String(headers['content-range'] ?? ''))?.[1];
  const size = statusCode === 206 ? range : headers['content-length'];
  return typeof size === 'string' ? Number(size) : null;
}

/** One request; appends to what is there already. Throws SourceError, or a HunchError that ends the download. */
async function attempt(source: HttpsSource, model: CatalogueModel, context: SourceContext): Promise<void> {
  const { file, folder, report, signal } = context;
  const disk = <T>(work: () => Promise<T>): Promise<T> => onDisk(folder, model.sizeBytes, work);
  let part = await disk(() => PartFile.open(file, model.sizeBytes, true));
  const resumedFrom = part.size;
  try {
    if (part.size < model.sizeBytes) {
      const response = await get(source, part.size, context);
      try {
        if (response.statusCode !== 200 && response.statusCode !== 206) {
          throw new SourceError(`it answered ${response.statusCode}`);
        }
        const size = announcedSize(response);
        if (size !== null && size !== model.sizeBytes) {
          throw new SourceError(`its file has ${size} bytes instead of ${model.sizeBytes}`);
        }
        const start = /^bytes (\d+)-/.exec(String(response.headers['content-range'] ?? ''))?.[1];
        if (response.statusCode === 206 ? Number(start) !== part.size : part.size > 0) {
          if (response.statusCode === 206) throw new SourceError('it sent another part than was asked for');
          await disk(() => part.close()); // it does not resume: from the start again
          part = await disk(() => PartFile.open(file, model.sizeBytes, false));
        }
        for await (const chunk of response.body as AsyncIterable<Buffer>) {
          if (part.size + chunk.length > model.sizeBytes) throw new SourceError('it sent more than the file has');
          await disk(() => part.append(chunk));
          report(part.size);
        }
      } finally {
        response.body.on('error', () => {}).destroy();
      }
      if (part.size < model.sizeBytes) throw new SourceError('the connection broke', part.size > resumedFrom);
    }
  } catch (error) {
    const received = part.size;
    await part.close();
    if (signal.aborted || (error as Error).name === 'HunchError' || error instanceof SourceError) throw error;
    throw new SourceError(networkReason(error), received > resumedFrom);
  }
  if (!(await disk(() => part.finish(model.sha256)))) {
    // An earlier attempt's bytes may be the wrong ones, so that is worth another try from the start.
    throw new SourceError('its content is not the expected one (wrong SHA-256)', resumedFrom > 0);
  }
}

/** Fetches the file over https into place, going on after broken connections. */
export async function fetchHttps(source: HttpsSource, model: CatalogueModel, context: SourceContext): Promise<void> {
  for (let left = attempts; ; left--) {
    try {
      return await attempt(source, model, context);
    } catch (error) {
      if (!(error instanceof SourceError) || !error.resumable || left <= 1) throw error;
    }
  }
}
