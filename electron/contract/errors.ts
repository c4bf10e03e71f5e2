/**
 * Error codes that may cross a process boundary. A code is for programs; the message beside it is a sentence a person
 * can act on: what is wrong, with which file or value, and what to do.
 */
export const errorCodes = [
  'bad-request', // a message failed its schema or came from a foreign frame
  'not-found', // a chat, message or model id that does not exist
  'busy', // a reply is already streaming in this chat
  'model-missing',
  'model-truncated',
  'model-hash-mismatch',
  'model-not-gguf',
  'model-unsupported', // architecture, tensor type or tokenizer this build cannot run
  'model-invalid', // a header that contradicts itself
  'pack-invalid', // a sparsity pack or a predictors file that cannot be used
  'context-overflow', // the prompt is longer than the context
  'out-of-memory',
  'gpu-unavailable', // no driver, no GPU that can be used, or a build without CUDA
  'gpu-failed', // while it computed: a fault of the driver or the card
  'engine-crashed',
  'engine-unavailable',
  'database-newer', // written by a newer Hunch
  'database-corrupt',
  'disk-full',
  'download-failed',
  'cancelled',
  'internal',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** What travels: plain data, no stack. */
export interface ErrorBody {
  code: ErrorCode;
  message: string;
}

/** The error class of the product's own code; anything else that is thrown becomes `internal` at the router. */
export class HunchError extends Error {
  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.name = 'HunchError';
  }
}

/** Every invoke answers with this envelope: rejections do not carry codes across Electron's IPC. */
export type Envelope<T> = { ok: true; value: T } | { ok: false; error: ErrorBody };
