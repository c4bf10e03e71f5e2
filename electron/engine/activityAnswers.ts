import { randomInt } from 'node:crypto';
import type { ActivityToken } from '../contract/activity';
import { HunchError } from '../contract/errors';
import type { NativeSession } from './addon';
import type { Answer, AnswerOf, Ask, AskOf, Written } from './activityProtocol';
import { tokensBefore } from './activitySources';
import { hashOf } from './modelPack';
import { rerun, type Signal } from './rerun';
import type { Runtime } from './runtime';

/** Guesses that a lens shows of each layer. */
const lensTop = 20;
/** Tokens; no session takes fewer. */
const smallestContext = 16;

/** Answers what the panel asks about a loaded model. */
export class ActivityAnswers {
  private running: { signal: Signal; session: NativeSession | null } | null = null;

  constructor(private readonly runtime: Runtime) {}

  /** Errors: bad-request, busy, cancelled, not-found, context-overflow, out-of-memory. */
  async answer(ask: Exclude<Ask, { kind: 'gpus' }>): Promise<Answer> {
    const { activity, info } = this.runtime;
    switch (ask.kind) {
      case 'record':
        return { kind: 'record', record: activity.record(ask.source, ask.index) };
      case 'neuron':
        return { kind: 'neuron', values: await activity.neuron(ask.source, ask.layer, ask.neuron) };
      case 'rates':
        return { kind: 'rates', rates: await activity.rates(ask.source) };
      case 'lens':
        return this.lens(ask);
      case 'rerun':
        return this.rerun(ask);
      case 'hash':
        return { kind: 'hash', sha256: await hashOf(info.path) };
      case 'residency':
        return { kind: 'residency', residency: this.runtime.model.residency() };
    }
  }

  /** Ends a rerun within one token; harmless when none runs. */
  cancel(): void {
    if (!this.running) return;
    this.running.signal.aborted = true;
    this.running.session?.stop();
  }

  private async lens({ source, index, written }: AskOf<'lens'>): Promise<AnswerOf<'lens'>> {
    const { runtime } = this;
    const known = runtime.activity.sources.get(source);
    const tokens = (known && tokensBefore(known, index)) ?? (written && (await this.before(written, index)));
    if (!tokens || tokens.length === 0) throw forgotten();
    if (tokens.length > runtime.info.contextLength) throw tooLong(tokens.length, runtime.info.contextLength);
    const session = runtime.openSession(Math.max(tokens.length + 1, smallestContext));
    try {
      const top = Math.min(lensTop, runtime.vocabularySize);
      const { ids, probabilities } = await session.lens(tokens, top);
      const guess = (at: number) => ({ ...this.token(ids[at]!), probability: probabilities[at]! });
      const layers = Array.from({ length: ids.length / top }, (_, layer) =>
        Array.from({ length: top }, (_, i) => guess(layer * top + i)),
      );
      return { kind: 'lens', layers };
    } finally {
      session.close();
    }
  }

  private async rerun(ask: AskOf<'rerun'>): Promise<AnswerOf<'rerun'>> {
    if (this.running) {
      throw new HunchError('busy', 'Another reply is being run again. Wait for its end, or cancel it first.');
    }
    const running: NonNullable<ActivityAnswers['running']> = { signal: { aborted: false }, session: null };
    this.running = running;
    try {
      return await this.runAgain(ask, running);
    } finally {
      running.session?.close();
      this.running = null;
    }
  }

  private async runAgain(
    ask: AskOf<'rerun'>,
    running: NonNullable<ActivityAnswers['running']>,
  ): Promise<AnswerOf<'rerun'>> {
    const { runtime } = this;
    const { info, sparsity, tokenizer, activity } = runtime;
    const { prompt, reply } = await this.tokensOf(ask);
    const room = info.contextLength - prompt.length;
    if (room < 1) throw tooLong(prompt.length, info.contextLength);
    const { seed: wanted, maxTokens, ...rest } = ask.sampling;
    const length = Math.min(ask.maxTokens ?? (ask.mode === 'follow' ? reply.length : maxTokens), room);
    const follow = ask.mode === 'follow' ? reply.slice(0, length) : null;
    if (follow?.length === 0) throw new HunchError('bad-request', 'This reply is empty: there is nothing to follow.');
    const seed = wanted ?? randomInt(2 ** 32);
    try {
      activity.openRing();
    } catch {
      // The disk is full: the run has summaries, but no records.
    }
    running.session = runtime.openSession(Math.max(prompt.length + length + 1, smallestContext));
    const trail = activity.begin(ask.runId, prompt, 0);
    const result = await rerun(
      running.session,
      {
        prompt,
        follow,
        sampling: { ...rest, seed, maxTokens: length, stopTokens: tokenizer.stopTokens },
        plan: sparsity.planFor(ask.sparsity),
        edits: ask.edits,
        auditEvery: ask.auditEvery,
      },
      running.signal,
    );
    const { ids, frames, ...figures } = result;
    trail.wrote(ids, frames);
    return {
      kind: 'rerun',
      tokens: ids.map((id) => this.token(id)),
      frames,
      sparsity: sparsity.nameOf(ask.sparsity),
      seed,
      text: tokenizer.decode(ids),
      modelHash: await hashOf(info.path),
      ...figures,
    };
  }

  /** Prompt and tokens as they were, where the engine still knows them, else as the text is tokenised now. */
  private async tokensOf({ source, written }: AskOf<'rerun'>): Promise<{ prompt: Int32Array; reply: Int32Array }> {
    const { tokenizer, activity } = this.runtime;
    const known = activity.sources.get(source);
    if (known?.first === 0 && tokenizer.decode(known.ids) === written.text) {
      return { prompt: known.prompt, reply: Int32Array.from(known.ids) };
    }
    const kept = tokenizer.decode(written.tokens) === written.text;
    const reply = kept ? written.tokens : await tokenizer.encode(written.text, { parseSpecial: false });
    return { prompt: await this.runtime.encodePrompt(written), reply: Int32Array.from(reply) };
  }

  /** Prompt and tokens before `index`; of what was kept, which may begin in the midst of the text. */
  private async before(written: Written, index: number): Promise<Int32Array> {
    const { text, tokens } = written;
    if (index > tokens.length) throw forgotten();
    const kept = this.runtime.tokenizer.decode(tokens);
    const begin = text.endsWith(kept) ? text.slice(0, text.length - kept.length) : '';
    const prompt = await this.runtime.encodePrompt(written, begin);
    return Int32Array.from([...prompt, ...tokens.slice(0, index)]);
  }

  private token(id: number): ActivityToken {
    return { id, text: this.runtime.tokenizer.textOf(id) };
  }
}

function forgotten(): HunchError {
  return new HunchError(
    'not-found',
    'The tokens of this reply are not known any more. Open the activation panel while a reply is written to keep them.',
  );
}

function tooLong(tokens: number, contextLength: number): HunchError {
  return new HunchError(
    'context-overflow',
    `This reply and what came before it have ${tokens} tokens or more, but the context holds ${contextLength}. Raise the context length in the settings.`,
  );
}
