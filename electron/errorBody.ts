import { HunchError, type ErrorBody } from './contract/errors';

/**
 * What may be shown of an error. The product's own errors are written for people; of anything else only a safe sentence
 * leaves this process, and the details go to the log.
 */
export function errorBody(error: unknown, log: (line: string) => void): ErrorBody {
  if (error instanceof HunchError) return { code: error.code, message: error.message };
  log(`unexpected error: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return {
    code: 'internal',
    message: 'Something unexpected went wrong. Try again; if it happens again, restart Hunch and look into its log.',
  };
}
