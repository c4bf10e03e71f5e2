import { randomInt, randomUUID } from 'node:crypto';
import type { ReplyStarted } from '../contract/channels';
import type { Chat, Message, ReplyProvenance, ReplyStats } from '../contract/entities';
import { HunchError, type ErrorBody } from '../contract/errors';
import { placeName } from '../contract/place';
import { stopNames } from '../contract/sparsity';
import type { ReplyEvent } from '../contract/stream';
import type { EngineReply } from '../engine/host';
import type { ReplyProgress, ReplyRequest } from '../engine/runtime';
import { joinTrails } from '../engine/sparsityTrail';
import { errorBody } from '../errorBody';
import type { KeptActivity } from './keptActivity';
import { LiveReply } from './liveReply';
import { untitled, type ChatStore, type MessageChange } from './store';
import { titleFrom, turnsOf } from './turns';

export type ReplyStream = (event: ReplyEvent) => void;

export interface RepliesOptions {
  store: ChatStore;
  /** engine/host.ts */
  engine: {
    reply(id: string, modelId: string, request: ReplyRequest, onEvent: (event: ReplyProgress) => void): EngineReply;
  };
  /** Frames of what the engine computes, while it is watched. */
  activity: Pick<KeptActivity, 'begin' | 'add' | 'end' | 'endAll'>;
  defaultModelId(): string;
  modelName(modelId: string): string;
  /** The way of one reply's events to the window. */
  openStream(replyId: string): ReplyStream;
  onChatsChanged(): void;
  log(line: string): void;
  flushMs?: number;
  retryMs?: number;
}

interface Running {
  live: LiveReply;
  /** Of this run, so far. */
  tokens: number;
  stream: ReplyStream;
  engine: EngineReply | null;
}

/**
 * Starts, continues and ends replies. The person's message and the (empty) reply are committed before the engine is
 * asked for anything; whatever happens later, the text that came is kept and the reply's status says how it ended.
 */
export class Replies {
  private readonly running = new Map<string, Running>();

  constructor(private readonly options: RepliesOptions) {}

  start(input: { chatId: string; messageId: string; parentId: string | null; text: string }): ReplyStarted {
    const { store } = this.options;
    const { chatId, messageId, parentId, text } = input;
    const chat = store.chat(chatId);
    const known = store.message(messageId);
    if (known) return this.repeat(chat, known, text);
    this.refuseBusy(chatId);
    const parent = parentId === null ? null : this.messageOf(chatId, parentId);
    if (parent && parent.role !== 'assistant') {
      throw new HunchError(
        'bad-request',
        'A message can only follow a reply. Open the chat again and send it once more.',
      );
    }
    const user = { id: messageId, parentId, role: 'user', text, status: 'complete', provenance: null } as const;
    const title = parent === null && chat.title === untitled ? titleFrom(text) : undefined;
    return this.begin(chat, [user], messageId, title);
  }

  regenerate({ chatId, messageId }: { chatId: string; messageId: string }): ReplyStarted {
    const chat = this.options.store.chat(chatId);
    this.refuseBusy(chatId);
    const message = this.messageOf(chatId, messageId);
    const questionId = message.role === 'user' ? message.id : message.parentId;
    if (questionId === null) throw new HunchError('bad-request', 'This reply has no question to answer again.');
    return this.begin(chat, [], questionId);
  }

  continue({ chatId, messageId }: { chatId: string; messageId: string }): ReplyStarted {
    const { store } = this.options;
    const chat = store.chat(chatId);
    this.refuseBusy(chatId);
    const message = this.messageOf(chatId, messageId);
    const endedEarly = message.status !== 'complete' || message.stats?.stopReason === 'length';
    if (message.role !== 'assistant' || !endedEarly) {
      throw new HunchError('bad-request', 'Only a reply that was stopped or interrupted can be continued.');
    }
    const provenance = this.provenance(chat, message);
    store.changeMessage(messageId, { status: 'streaming', error: null, provenance });
    const reply = store.message(messageId)!;
    this.run(chat, reply, message);
    return { user: null, reply };
  }

  /** Harmless when the reply is over. */
  stop(messageId: string): void {
    this.running.get(messageId)?.engine?.stop();
  }

  stopChat(chatId: string): void {
    for (const [id, { live }] of this.running) if (live.chatId === chatId) this.stop(id);
  }

  /** These messages with what has not reached the database yet. */
  withLiveText(messages: Message[]): Message[] {
    return messages.map((message) => {
      const live = this.running.get(message.id)?.live.snapshot();
      return live ? { ...live, siblings: message.siblings } : message;
    });
  }

  /** The app is closing: commits what there is. */
  interruptAll(): void {
    for (const { live } of this.running.values()) {
      if (live.ended) live.flush();
      else live.finish({ status: 'interrupted' });
    }
    this.options.activity.endAll();
  }

  /** The same `reply.start` again (its answer got lost): answers what the first one did. */
  private repeat(chat: Chat, user: Message, text: string): ReplyStarted {
    if (user.chatId !== chat.id || user.role !== 'user' || user.text !== text) {
      throw new HunchError(
        'bad-request',
        'This message was already saved with other content. Send it again as a new one.',
      );
    }
    const replies = this.options.store.allMessages(chat.id).filter((message) => message.parentId === user.id);
    const reply = replies[replies.length - 1];
    return reply ? { user, reply: this.withLiveText([reply])[0]! } : { ...this.begin(chat, [], user.id), user };
  }

  /** Commits the new messages with an empty reply below `questionId`, then lets the engine write it. */
  private begin(
    chat: Chat,
    messages: Parameters<ChatStore['append']>[1],
    questionId: string,
    title?: string,
  ): ReplyStarted {
    const empty = {
      id: randomUUID(),
      parentId: questionId,
      role: 'assistant',
      text: '',
      status: 'streaming',
      provenance: this.provenance(chat),
    } as const;
    const saved = this.options.store.append(chat.id, [...messages, empty], title);
    const reply = saved[saved.length - 1]!;
    this.run(chat, reply, null);
    this.options.onChatsChanged();
    return { user: messages.length > 0 ? saved[0]! : null, reply };
  }

  /** `before`: the message that is continued. */
  private run(chat: Chat, reply: Message, before: Message | null): void {
    const { store, engine, activity, openStream, log, flushMs, retryMs } = this.options;
    const live = new LiveReply(reply, {
      save: (change) => store.changeMessage(reply.id, change),
      onSaveError: (error) => log(`reply ${reply.id} is not saved yet: ${errorBody(error, log).message}`),
      onEnded: () => this.running.delete(reply.id),
      flushMs,
      retryMs,
    });
    const running: Running = { live, tokens: 0, stream: openStream(reply.id), engine: null };
    this.running.set(reply.id, running);
    const provenance = reply.provenance!;
    const earlier = before?.stats ?? null;
    const request: ReplyRequest = {
      chatKey: chat.id,
      systemPrompt: chat.systemPrompt,
      messages: turnsOf(store.branch(chat.id, reply.parentId)),
      sampling: provenance.sampling,
      sparsity: chat.sparsity,
      firstToken: activity.begin(reply.id, provenance.modelId),
      ...(reply.text === '' ? {} : { continueText: reply.text }),
    };
    const onEvent = (event: ReplyProgress): void => {
      if (live.ended) return;
      if (event.type === 'prefill') return running.stream(event);
      if (event.type === 'sparsity') {
        return live.note({ provenance: { ...provenance, sparsity: trail(before, event.made) } });
      }
      if (event.type === 'frames') {
        const { whole, ...frames } = event;
        running.stream(frames);
        if (whole) activity.add(reply.id, event);
        return;
      }
      running.tokens = event.tokens;
      live.append(event.text);
      running.stream(event);
    };
    running.engine = engine.reply(reply.id, provenance.modelId, request, onEvent);
    running.engine.promise.then(
      (stats) => this.end(running, { ...endOf(stats), stats: addUp(stats, earlier, running.tokens) }),
      (error: unknown) => {
        const failure = failureOf(error, live.snapshot().text, log);
        this.end(running, { ...failure, stats: addUp(null, earlier, running.tokens) });
      },
    );
  }

  private end(running: Running, change: MessageChange): void {
    // Already closed by interruptAll.
    if (running.live.ended) return;
    void this.options.activity.end(running.live.snapshot().id);
    const saved = running.live.finish(change);
    const message = running.live.snapshot();
    running.stream({ type: 'done', message: saved ? message : { ...message, status: 'failed', error: notSaved } });
  }

  private provenance(chat: Chat, before: Message | null = null): ReplyProvenance {
    const modelId = chat.modelId ?? this.options.defaultModelId();
    const seed = chat.sampling.seed ?? randomInt(2 ** 32);
    return {
      modelId,
      modelName: this.options.modelName(modelId),
      sampling: { ...chat.sampling, seed },
      // As asked for; the engine says what came of it.
      sparsity: trail(before, placeName(chat.sparsity.position, stopNames)),
    };
  }

  private messageOf(chatId: string, messageId: string): Message {
    const message = this.options.store.message(messageId);
    if (message?.chatId === chatId) return message;
    throw new HunchError('not-found', 'This message does not exist in this chat. Open the chat again.');
  }

  private refuseBusy(chatId: string): void {
    for (const { live } of this.running.values()) {
      if (live.chatId === chatId && !live.ended) {
        throw new HunchError(
          'busy',
          'A reply is still being written in this chat. Stop it first, or wait for its end.',
        );
      }
    }
  }
}

/** A continued reply was written at the places of its first part, too. */
function trail(before: Message | null, made: string): string {
  return before?.provenance && before.text !== '' ? joinTrails(before.provenance.sparsity, made) : made;
}

const notSaved: ErrorBody = {
  code: 'disk-full',
  message: 'The reply has ended but could not be saved yet. Free some disk space; Hunch keeps trying while it is open.',
};

function endOf(stats: ReplyStats | null): MessageChange {
  return { status: stats === null || stats.stopReason === 'stopped' ? 'stopped' : 'complete' };
}

/** The tokens of a continued reply add up, also when the engine did not live to report this run's. */
function addUp(stats: ReplyStats | null, earlier: ReplyStats | null, tokens: number): ReplyStats | null {
  const last = stats ?? earlier;
  if (!last || !earlier) return last;
  return { ...last, generatedTokens: earlier.generatedTokens + (stats?.generatedTokens ?? tokens) };
}

/** A reply that can go on where it ended is interrupted. */
function failureOf(error: unknown, text: string, log: (line: string) => void): MessageChange {
  const body = errorBody(error, log);
  const midReply = body.code === 'gpu-failed' || body.code === 'out-of-memory';
  const goesOn = body.code === 'engine-crashed' || (midReply && text !== '');
  return { status: goesOn ? 'interrupted' : 'failed', error: body };
}
