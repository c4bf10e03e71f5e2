import type { VerbInput, VerbName, VerbOutput } from './channels';
import type { Envelope } from './errors';
import type { AppEvent } from './events';
import type { ReplyListener } from './stream';

type Domain<N extends VerbName> = N extends `${infer D}.${string}` ? D : never;
type Action<N extends VerbName, D extends string> = N extends `${D}.${infer A}` ? A : never;

/** One function per verb. It never rejects for an expected failure: the envelope carries code and sentence. */
type VerbCall<N extends VerbName> =
  VerbInput<N> extends undefined
    ? () => Promise<Envelope<VerbOutput<N>>>
    : (input: VerbInput<N>) => Promise<Envelope<VerbOutput<N>>>;

type VerbCalls = {
  [D in Domain<VerbName>]: { [A in Action<VerbName, D>]: VerbCall<`${D}.${A}` & VerbName> };
};

/**
 * What the preload puts on `window.api`, e.g. `api.chats.rename({ chatId, title })`. Only plain data crosses the bridge
 * (thrown errors would lose their code), so renderer/api.ts unwraps the envelopes.
 */
export interface HunchApi extends VerbCalls {
  /** Broadcasts from the main process, in order. Returns the unsubscribe function. */
  onEvent(listener: (event: AppEvent) => void): () => void;
  /**
   * The stream of one reply (`ReplyStarted.reply.id`). Events that arrived before the call are delivered first, so
   * subscribing after `reply.start` has answered loses nothing. Ends by itself after `done`. Returns the unsubscribe function.
   */
  onReply(replyId: string, listener: ReplyListener): () => void;
}
