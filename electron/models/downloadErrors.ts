import { HunchError } from '../contract/errors';

/** This source did not work; another one may. The message is a part of a sentence. */
export class SourceError extends Error {
  constructor(
    message: string,
    /** What was received is worth keeping and going on from. */
    readonly resumable = false,
  ) {
    super(message);
  }
}

const reasons: Readonly<Record<string, string>> = {
  ENOTFOUND: 'its address was not found (no connection?)',
  EAI_AGAIN: 'its address was not found (no connection?)',
  ECONNREFUSED: 'it refused the connection',
  ECONNRESET: 'the connection broke',
  UND_ERR_SOCKET: 'the connection broke',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the connection broke',
  ENETUNREACH: 'there is no connection to it',
  EHOSTUNREACH: 'there is no connection to it',
  ETIMEDOUT: 'it did not answer in time',
  UND_ERR_CONNECT_TIMEOUT: 'it did not answer in time',
  UND_ERR_HEADERS_TIMEOUT: 'it did not answer in time',
  UND_ERR_BODY_TIMEOUT: 'the transfer stalled',
};

/** A network failure in words. */
export function networkReason(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return (code && reasons[code]) || message || code || 'it failed';
}

/** Runs disk work; a failure there is the same whatever the source, so it ends the download. */
export async function onDisk<T>(folder: string, totalBytes: number, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (error instanceof HunchError || error instanceof SourceError || !code) throw error;
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      throw new HunchError(
        'disk-full',
        `The disk is full: the model needs ${Math.ceil(totalBytes / 1e6)} MB in ${folder}. Free some space and try again; what was received is kept.`,
        { cause: error },
      );
    }
    throw new HunchError(
      'download-failed',
      `The model cannot be written to ${folder} (${message}). Check the folder's permissions, or set HUNCH_MODELS to another one.`,
      { cause: error },
    );
  }
}
