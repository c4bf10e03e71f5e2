import { stopPosition, type Sparsity } from '../contract/sparsity';
import { corrected, keepsState } from '../sparsity/position';
import type { PackResult } from '../sparsity/store';
import type { GenerateOptions, ModelSpec, NativeModel, Plan } from './addon';
import type { ChatSession, ChatSessions } from './chatSessions';
import { fromNative } from './nativeError';
import type { EngineSparsity } from './protocol';
import { modelSource, type SparsitySource } from './sparsitySource';

/** Tokens; no session takes fewer. */
const smallestContext = 16;

/** A loaded model's slider: where its plans come from, and where on it each chat stands. */
export class ModelSparsity {
  /** Called when `state` has changed. */
  onChange: (state: EngineSparsity) => void = () => {};
  private source: SparsitySource;

  constructor(
    private readonly model: NativeModel,
    private readonly spec: ModelSpec,
    private readonly sessions: ChatSessions,
    /** From its next token on the chat's reply is written at this place. */
    private readonly onMoved: (chatKey: string, place: string) => void,
  ) {
    this.source = modelSource(spec, null);
  }

  get state(): EngineSparsity {
    return this.source.state();
  }

  /** What runs at a place of the slider; null = dense. */
  planAt(position: number): Plan | null {
    return this.source.plan(position);
  }

  /** Takes the plans from this pack from now on. What is wrong with it is told in `state`; the model runs without it then. */
  async usePack({ pack, problem }: PackResult): Promise<void> {
    try {
      await this.use(modelSource(this.spec, pack, problem));
    } catch (error) {
      const why = `The sparsity pack of this model is not used: ${(error as Error).message}`;
      this.setSource(modelSource(this.spec, null, why));
      this.onChange(this.state);
    }
  }

  /** Errors: bad-request (predictors or plans that do not fit the model); then the model's plans are those it has without a pack. */
  async use(source: SparsitySource): Promise<void> {
    // No plan may meet predictors that are not its own.
    this.setSource(modelSource(this.spec, null));
    try {
      if (source.predictors) await this.model.setPredictors(source.predictors);
      await this.tryPlans(source);
    } catch (error) {
      throw fromNative(error);
    }
    this.setSource(source);
    this.onChange(this.state);
  }

  /** The place as a reply's provenance names it; null = dense. */
  nameOf(sparsity: Sparsity | null): string {
    if (sparsity === null) return 'dense';
    return this.source.describe(sparsity.position) + (this.planFor(sparsity)?.correctEvery ? ' + correction' : '');
  }

  /** How a reply speculates, and how its provenance names that; null: it does not. */
  speculationOf(
    sparsity: Sparsity | null,
  ): { options: NonNullable<GenerateOptions['speculation']>; name: string } | null {
    if (!sparsity?.speculation) return null;
    const { position } = sparsity;
    const plan = this.source.plan(position);
    // A draft that is as good as the text costs as much: then only repeated phrases are worth it.
    const draft = plan && !isLossless(plan) ? plan : null;
    return { options: { draft }, name: `${this.source.describe(position)} + speculation` };
  }

  /** Moves a chat's slider. Errors: bad-request. */
  move(chatKey: string, session: ChatSession, sparsity: Sparsity | null): void {
    try {
      session.native.setPlan(this.planFor(sparsity));
    } catch (error) {
      throw fromNative(error);
    }
    session.sparsity = sparsity;
    this.onMoved(chatKey, this.nameOf(sparsity));
  }

  /** What runs at a chat's place; null = dense. */
  planFor(sparsity: Sparsity | null): Plan | null {
    const plan = sparsity === null ? null : this.source.plan(sparsity.position);
    return plan && sparsity?.correction ? corrected(plan) : plan;
  }

  private setSource(source: SparsitySource): void {
    this.source = source;
    for (const [chatKey, session] of this.sessions.all()) this.move(chatKey, session, session.sparsity);
  }

  /** A step of each, so that what is wrong is known, and the low-bit copies that plans read are made, before a reply needs them. */
  private async tryPlans(source: SparsitySource): Promise<void> {
    const session = this.model.createSession({ contextLength: smallestContext });
    try {
      for (const stop of source.state().stops) {
        session.setPlan(source.plan(stopPosition(stop)));
        await session.bench(0, 1);
      }
    } finally {
      session.close();
    }
  }
}

/** Nothing is left out but what is zero, so the text is dense's. */
function isLossless(plan: Plan): boolean {
  return plan.vocabulary.bits === 0 && keepsState(plan);
}
