import { randomUUID } from 'node:crypto';
import path from 'node:path';
import type { ActivityStore } from '../chats/activityStore';
import { exportName } from '../chats/export';
import type { KeptActivity } from '../chats/keptActivity';
import type { Replies } from '../chats/replies';
import type { ChatStore } from '../chats/store';
import { turnsOf } from '../chats/turns';
import { maxReplyChunk, type ReplyActivity } from '../contract/activity';
import type { Message } from '../contract/entities';
import { HunchError } from '../contract/errors';
import type { Written } from '../engine/activityProtocol';
import type { EngineHost } from '../engine/host';
import { placeOfTrail } from '../engine/sparsityTrail';
import { readLimited, saveFile } from '../files';
import type { DomainHandlers } from './dispatch';

export interface ActivityDependencies {
  store: ChatStore;
  replies: Pick<Replies, 'withLiveText'>;
  kept: KeptActivity;
  origins: Pick<ActivityStore, 'origin'>;
  engine: Pick<EngineHost, 'activity' | 'ask'>;
  version: string;
  /** Asks where to save; null when the person cancels. */
  askSavePath(fileName: string, title: string): Promise<string | null>;
  /** Asks for a .hunchframes or .json file. */
  askActivityFile(): Promise<string | null>;
}

/** Bytes of a file of frames that is opened. */
const mostFileBytes = 2 ** 28;

export function activityHandlers(deps: ActivityDependencies): DomainHandlers<'activity'> {
  const { store, kept, engine, version } = deps;

  /** A reply with its text as it is now. */
  const replyOf = (messageId: string): Message => {
    const message = store.message(messageId);
    if (message?.role === 'assistant') return deps.replies.withLiveText([message])[0]!;
    throw new HunchError('not-found', 'This reply does not exist any more. Open the chat again.');
  };

  const provenanceOf = ({ provenance }: Message): NonNullable<Message['provenance']> => {
    if (provenance) return provenance;
    throw new HunchError('bad-request', 'How this reply was made is not known, so it cannot be made again.');
  };

  /** What the engine needs to run the reply, or a part of it, again. */
  const writtenOf = (message: Message): Written => ({
    systemPrompt: store.chat(message.chatId).systemPrompt,
    messages: turnsOf(store.branch(message.chatId, message.parentId)),
    text: message.text,
    tokens: kept.tokenIds(message.id),
  });

  const describe = (message: Message): Omit<ReplyActivity, 'from' | 'total' | 'tokens' | 'frames'> => {
    const { provenance } = message;
    const origin = deps.origins.origin(message.id);
    return {
      messageId: message.id,
      sparsity: provenance?.sparsity ?? '',
      modelHash: origin?.modelHash ?? '',
      modelName: provenance?.modelName ?? '',
      seed: provenance?.sampling.seed ?? 0,
      version: origin?.version ?? version,
    };
  };

  return {
    'activity.watch': (capture) => {
      engine.activity.watch(capture);
      return null;
    },
    'activity.reply': async ({ messageId, from = 0, count = maxReplyChunk }) => {
      const message = replyOf(messageId);
      const part = count === 0 ? { tokens: [], frames: [] } : await kept.part(messageId, from, count);
      return { ...describe(message), from, total: kept.total(messageId), ...part };
    },
    'activity.record': ({ source, index }) =>
      engine.ask<'record'>({ kind: 'record', source, index }).then(({ record }) => record, unlessUnloaded(null)),
    'activity.neuron': async ({ source, layer, neuron }) => {
      const { values } = await engine
        .ask<'neuron'>({ kind: 'neuron', source, layer, neuron })
        .catch(unlessUnloaded({ values: null }));
      const total = Math.max(kept.total(source), values?.length ?? 0);
      const all = new Float32Array(total).fill(Number.NaN);
      if (values) all.set(values);
      return all;
    },
    'activity.rates': ({ source }) =>
      engine
        .ask<'rates'>({ kind: 'rates', source })
        .then(({ rates }) => rates, unlessUnloaded({ tokens: 0, layers: 0, neurons: 0, active: new Uint32Array(0) })),
    'activity.rerun': async ({ messageId, position, ...run }) => {
      const message = replyOf(messageId);
      if (message.status === 'streaming') {
        throw new HunchError('busy', 'This reply is still being written. Run it again when it has ended.');
      }
      const { modelId, modelName, sampling, sparsity } = provenanceOf(message);
      const place = placeOfTrail(sparsity);
      const runId = randomUUID();
      const { tokens, frames, modelHash, seed, ...answer } = await engine.ask<'rerun'>(
        {
          ...{ kind: 'rerun', runId, source: messageId, written: writtenOf(message), sampling, ...run },
          sparsity: position === null ? place : { ...place, position, speculation: false },
        },
        modelId,
      );
      const activity: ReplyActivity = {
        ...{ messageId, from: 0, total: tokens.length, tokens, frames },
        ...{ sparsity: answer.sparsity, modelHash, modelName, seed, version },
      };
      const { text, tokensPerSecond, surprise, kl } = answer;
      return { runId, activity, text, tokensPerSecond, surprise, kl };
    },
    'activity.cancelRerun': () => {
      engine.activity.cancelRerun();
      return null;
    },
    'activity.lens': async ({ source, index }) => {
      const message = store.message(source) && replyOf(source);
      const modelId = message?.provenance?.modelId;
      const written = message ? writtenOf(message) : null;
      const { layers } = await engine.ask<'lens'>({ kind: 'lens', source, index, written }, modelId);
      return { layers };
    },
    'activity.residency': () =>
      engine.ask<'residency'>({ kind: 'residency' }).then(({ residency }) => residency, unlessUnloaded(null)),
    'activity.save': async ({ name, extension, bytes }) => {
      const file = await deps.askSavePath(exportName(name, extension), 'Export activations');
      if (file === null) return null;
      await saveFile(file, bytes);
      return { path: file };
    },
    'activity.open': async () => {
      const file = await deps.askActivityFile();
      if (file === null) return null;
      if (!/\.(hunchframes|json)$/i.test(file)) {
        throw new HunchError(
          'bad-request',
          `${file} is no .hunchframes or .json file. Choose one that Hunch exported.`,
        );
      }
      return { name: path.basename(file), bytes: await readLimited(file, mostFileBytes) };
    },
  };
}

/** Without a model nothing is known; other errors stay errors. */
function unlessUnloaded<T>(answer: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof HunchError && error.code === 'engine-unavailable') return answer;
    throw error;
  };
}
