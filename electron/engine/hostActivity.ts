import type { Capture } from '../contract/activity';
import { HunchError } from '../contract/errors';
import type { Answer, AnswerOf, Ask, Ring } from './activityProtocol';
import type { FromWorker, ToWorker } from './protocol';

interface Waiting {
  kind: Ask['kind'];
  resolve(answer: Answer): void;
  reject(error: HunchError): void;
}

/** The main process's side of the activation panel: what is watched, and questions that wait for their answer. */
export class HostActivity {
  private watched: Capture = { mode: 'off', auditEvery: 0 };
  private lastAskId = 0;
  private cancels = 0;
  private readonly waiting = new Map<number, Waiting>();

  constructor(
    private readonly send: (message: ToWorker) => void,
    private readonly ring?: () => Ring,
  ) {}

  /** What replies note down from their next token on; remembered over restarts and loads. */
  watch(capture: Capture): void {
    this.watched = capture;
    this.tell();
  }

  /** Rejects with the engine's error. */
  ask<K extends Ask['kind']>(ask: Extract<Ask, { kind: K }>): Promise<AnswerOf<K>> {
    const askId = ++this.lastAskId;
    const answer = new Promise<Answer>((resolve, reject) => {
      this.waiting.set(askId, { kind: ask.kind, resolve, reject });
    });
    this.send({ type: 'ask', askId, ask });
    return answer as Promise<AnswerOf<K>>;
  }

  /** The same, to be sent when the model is there: what was cancelled meanwhile is not asked any more. */
  later<K extends Ask['kind']>(ask: Extract<Ask, { kind: K }>): () => Promise<AnswerOf<K>> {
    const before = this.cancels;
    return () => {
      if (ask.kind !== 'rerun' || this.cancels === before) return this.ask<K>(ask);
      return Promise.reject(new HunchError('cancelled', 'Running the reply again was cancelled.'));
    };
  }

  /** Ends a reply that is being run again, or waits for that; harmless when none is. */
  cancelRerun(): void {
    this.cancels++;
    this.send({ type: 'cancel-rerun' });
  }

  receive(message: Extract<FromWorker, { askId: number }>): void {
    const waiting = this.waiting.get(message.askId);
    if (!waiting) return;
    this.waiting.delete(message.askId);
    if (message.type === 'ask-failed') {
      waiting.reject(new HunchError(message.error.code, message.error.message));
    } else if (message.answer.kind === waiting.kind) {
      waiting.resolve(message.answer);
    } else {
      waiting.reject(new HunchError('internal', 'The engine answered another question. Ask again.'));
    }
  }

  /** A message that fits no schema: whoever waits for it must not wait for ever. */
  unreadable(message: unknown): void {
    const askId = (message as { askId?: unknown } | null)?.askId;
    if (typeof askId !== 'number') return;
    const error = { code: 'internal' as const, message: 'The engine gave an answer that cannot be read. Ask again.' };
    this.receive({ type: 'ask-failed', askId, error });
  }

  /** The process is gone, and every answer with it. */
  lost(error: HunchError): void {
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const { reject } of waiting) reject(error);
  }

  /** To a new process, which captures what the one before it did, and where records go once that has changed. */
  tell(): void {
    if (this.ring) this.send({ type: 'capture', capture: this.watched, ring: this.ring() });
  }
}
