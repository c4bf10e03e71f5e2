import { verbs, type VerbInput, type VerbName, type VerbOutput } from '../contract/channels';
import type { Envelope } from '../contract/errors';
import { HunchError } from '../contract/errors';
import { errorBody } from '../errorBody';

type Result<N extends VerbName> = VerbOutput<N> | Promise<VerbOutput<N>>;

export type Handlers = { [N in VerbName]: (input: VerbInput<N>) => Result<N> };

/** The handlers of one domain, e.g. `DomainHandlers<'chats'>`; each domain has one file in this folder. */
export type DomainHandlers<D extends string> = {
  [N in VerbName as N extends `${D}.${string}` ? N : never]: Handlers[N];
};

/** Where a message came from, in plain data. */
export interface Sender {
  /** The window that the app opened, not some other web contents. */
  isMainWindow: boolean;
  /** Not an iframe. */
  isTopFrame: boolean;
  url: string;
}

export type Dispatch = (sender: Sender, verb: unknown, input: unknown) => Promise<Envelope<unknown>>;

/** Checks the sender, the verb and its input, runs the handler and wraps what comes of it. It never rejects. */
export function createDispatch(
  handlers: Handlers,
  isOwnUrl: (url: string) => boolean,
  log: (line: string) => void,
): Dispatch {
  return async (sender, verb, input) => {
    try {
      if (!sender.isMainWindow || !sender.isTopFrame || !isOwnUrl(sender.url)) {
        log(`ipc: refused a message from ${sender.url.slice(0, 200)}`);
        throw new HunchError('bad-request', 'This page may not use Hunch.');
      }
      if (typeof verb !== 'string' || !Object.hasOwn(verbs, verb)) {
        throw new HunchError(
          'bad-request',
          'The window asked for something this version of Hunch does not know. Restart Hunch.',
        );
      }
      const name = verb as VerbName;
      const parsed = verbs[name].input.safeParse(input);
      if (!parsed.success) {
        const issue = parsed.error.issues[0];
        const where = issue?.path.length ? ` (${issue.path.join('.')})` : '';
        throw new HunchError(
          'bad-request',
          `${name} got a value that does not fit${where}: ${issue?.message ?? 'invalid'}.`,
        );
      }
      const handler = handlers[name] as (input: unknown) => unknown;
      return { ok: true, value: await handler(parsed.data) };
    } catch (error) {
      return { ok: false, error: errorBody(error, (line) => log(`ipc: ${String(verb).slice(0, 100)}: ${line}`)) };
    }
  };
}
