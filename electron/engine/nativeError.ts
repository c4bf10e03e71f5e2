import type { ErrorCode } from '../contract/errors';
import { HunchError, errorCodes } from '../contract/errors';

/** The addon's errors carry a code of contract/errors.ts; anything else is returned as it is. */
export function fromNative(error: unknown): unknown {
  if (error instanceof HunchError) return error;
  const { code, message } = (error ?? {}) as { code?: unknown; message?: string };
  const known = errorCodes.find((candidate): candidate is ErrorCode => candidate === code);
  return known ? new HunchError(known, message ?? String(error), { cause: error }) : error;
}
