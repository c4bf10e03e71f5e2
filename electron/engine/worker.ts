import { HunchError, type ErrorBody } from '../contract/errors';
import { calibrate } from '../sparsity/calibrate';
import { ActivityAnswers } from './activityAnswers';
import type { Answer, Ask } from './activityProtocol';
import { FramesPace } from './framesPace';
import { hasNvidia } from './gpuHardware';
import { loadAddon } from './native';
import { fromWorkerSchema, toWorkerSchema, type FromWorker, type ToWorker } from './protocol';
import { Runtime, type ReplyRequest, type RunningReply, type RuntimeInfo } from './runtime';
import { Coalescer } from './stream';
import { parentLink } from './transport';

/** The engine's process: one Runtime, driven by messages (protocol.ts). A crash here takes no chat away. */
const link = parentLink();
/** A reply that runs or waits to start. */
interface Entry {
  request: ReplyRequest;
  run: RunningReply | null;
  stopped: boolean;
}
const replies = new Map<string, Entry>();
let runtime: Runtime | null = null;
let answers: ActivityAnswers | null = null;
/** What is watched, also in models loaded later; null: never asked for. */
let watched: Extract<ToWorker, { type: 'capture' }> | null = null;
/** Loads take turns; the newest wins. */
let loading: Promise<void> = Promise.resolve();
/** The calibration that runs, and the promise of its end. */
let calibrating: { signal: { aborted: boolean }; over: Promise<void> } | null = null;

function send(message: FromWorker): void {
  link.send(message);
}

async function load(message: Extract<ToWorker, { type: 'load' }>): Promise<void> {
  const { type: _, loadId, path, ...options } = message;
  try {
    cancelCalibration();
    answers?.cancel();
    answers = null;
    await calibrating?.over;
    await Promise.allSettled(answering);
    // The old model goes first: two of them may not fit into memory.
    await runtime?.close();
    runtime = null;
    let lastPercent = -1;
    runtime = await Runtime.open(path, {
      ...options,
      onProgress: (fraction) => {
        const percent = Math.floor(fraction * 100);
        if (percent !== lastPercent) send({ type: 'loading', loadId, fraction });
        lastPercent = percent;
      },
    });
    answers = new ActivityAnswers(runtime);
    watch();
    runtime.sparsity.onChange = (state) => send({ type: 'sparsity-state', state });
    send({ type: 'loaded', loadId, info: await worthTelling(runtime.info), sparsity: runtime.sparsity.state });
  } catch (error) {
    send({ type: 'load-failed', loadId, error: describe(error) });
  }
}

/** That there is no NVIDIA GPU is no news to somebody who has none. */
async function worthTelling(info: RuntimeInfo): Promise<RuntimeInfo> {
  if (info.deviceNote === '' || info.device !== '' || (await hasNvidia(await loadAddon().gpus()))) return info;
  return { ...info, deviceNote: '' };
}

async function reply({ replyId, request }: Extract<ToWorker, { type: 'reply' }>): Promise<void> {
  const stream = new Coalescer((event) => send({ ...event, replyId }));
  const frames = new FramesPace((event) => stream.push(event));
  const entry: Entry = { request, run: null, stopped: false };
  replies.set(replyId, entry);
  try {
    await loading;
    if (!runtime) throw new HunchError('engine-unavailable', 'No model is loaded. Choose one in the model list.');
    const run = runtime.reply({ ...entry.request, source: replyId }, (event) => {
      if (event.type === 'frames') frames.push(event);
      else stream.push(event);
    });
    entry.run = run;
    if (entry.stopped) run.stop();
    const { stats, seed } = await run.promise;
    frames.end();
    stream.flush();
    send({ type: 'ended', replyId, stats, seed });
  } catch (error) {
    frames.end();
    stream.flush();
    send({ type: 'failed', replyId, error: describe(error) });
  } finally {
    replies.delete(replyId);
  }
}

function stop(replyId: string): void {
  const entry = replies.get(replyId);
  if (!entry) return;
  entry.stopped = true;
  entry.run?.stop();
}

function setSparsity({ chatKey, sparsity }: Extract<ToWorker, { type: 'sparsity' }>): void {
  for (const entry of replies.values()) {
    if (!entry.run && entry.request.chatKey === chatKey) entry.request = { ...entry.request, sparsity };
  }
  try {
    runtime?.setSparsity(chatKey, sparsity);
  } catch (error) {
    send({ type: 'refused', reason: describe(error).message });
  }
}

/** A ring that cannot be written leaves the summaries. */
function watch(): void {
  if (!watched) return;
  try {
    runtime?.activity.watch(watched.capture, watched.ring);
  } catch (error) {
    send({ type: 'refused', reason: describe(error).message });
  }
}

/** Questions that are being answered; a model is closed only after them. */
const answering = new Set<Promise<unknown>>();

async function answerOf(ask: Ask): Promise<Answer> {
  if (ask.kind === 'gpus') return { kind: 'gpus', report: await loadAddon().gpus() };
  await loading;
  if (!answers) throw new HunchError('engine-unavailable', 'No model is loaded. Choose one in the model list.');
  const work = answers.answer(ask);
  answering.add(work);
  return work.finally(() => answering.delete(work));
}

async function answer({ askId, ask }: Extract<ToWorker, { type: 'ask' }>): Promise<void> {
  try {
    send({ type: 'answered', askId, answer: await answerOf(ask) });
  } catch (error) {
    send({ type: 'ask-failed', askId, error: describe(error) });
  }
}

function startCalibration(): void {
  if (calibrating) return;
  const signal = { aborted: false };
  const over = (async () => {
    try {
      await loading;
      if (!runtime) throw new HunchError('engine-unavailable', 'No model is loaded. Choose one in the model list.');
      await calibrate(runtime, { signal, onStatus: (status) => send({ type: 'calibration', status }) });
      send({ type: 'calibrated' });
    } catch (error) {
      send({ type: 'calibration-failed', error: describe(error) });
    } finally {
      calibrating = null;
    }
  })();
  calibrating = { signal, over };
}

function cancelCalibration(): void {
  if (calibrating) calibrating.signal.aborted = true;
}

function describe(error: unknown): ErrorBody {
  const known = fromWorkerSchema.safeParse({
    type: 'failed',
    replyId: '',
    error: { code: (error as ErrorBody | null)?.code, message: (error as ErrorBody | null)?.message },
  });
  if (known.success && known.data.type === 'failed') return known.data.error;
  console.error('engine:', error);
  return {
    code: 'internal',
    message: 'The engine failed in an unexpected way. Try again; if it happens again, restart Hunch.',
  };
}

function handle(message: ToWorker): void {
  switch (message.type) {
    case 'load':
      loading = loading.then(() => load(message));
      return;
    case 'reply':
      void reply(message);
      return;
    case 'stop':
      stop(message.replyId);
      return;
    case 'forget':
      runtime?.forget(message.chatKey);
      return;
    case 'sparsity':
      setSparsity(message);
      return;
    case 'calibrate':
      startCalibration();
      return;
    case 'cancel-calibrate':
      cancelCalibration();
      return;
    case 'capture':
      watched = message;
      watch();
      return;
    case 'ask':
      void answer(message);
      return;
    case 'cancel-rerun':
      answers?.cancel();
      return;
  }
}

link.onMessage((raw) => {
  const parsed = toWorkerSchema.safeParse(raw);
  if (parsed.success) handle(parsed.data);
  else send({ type: 'refused', reason: parsed.error.issues[0]?.message ?? 'invalid message' });
});

// Going on after an unknown failure could corrupt replies: end instead, the host starts a clean process.
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    console.error('engine:', error);
    process.exit(70);
  });
}

send({ type: 'ready' });
