// @vitest-environment happy-dom
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ReplyActivity, Rerun } from '../../../electron/contract/activity';
import { defaultSampling, type Message } from '../../../electron/contract/entities';
import { writeFramesFile } from '../../../renderer/activity/framesFile';
import { replySource, runSource } from '../../../renderer/activity/source';
import { keptBytes } from '../../../renderer/activity/track';
import { useStore } from '../../../renderer/store/store';
import { encodeFrame, patternFrame } from '../../helpers/frames';

const initial = useStore.getState();
const state = () => useStore.getState();
const shape = { layers: 2, neurons: 32, heads: 2, blockSize: 8 };
const frame = (sequence: number): Uint8Array => encodeFrame(patternFrame(shape, sequence));
const tokens = (from: number, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: from + i, text: `t${from + i} ` }));
const ok = (value: unknown) => Promise.resolve({ ok: true, value });
const refused = (code: string, message: string) => Promise.resolve({ ok: false, error: { code, message } });

const replyId = '0b7e4a0e-3c1b-4a53-9d6a-5e1f0d3c2b01';
const message: Message = {
  ...{ id: replyId, chatId: 'c', parentId: null, role: 'assistant', text: '', status: 'streaming' },
  ...{ error: null, createdAt: 1, stats: null, provenance: null, siblings: [replyId] },
};
const total = 700;
const activity = (from: number, count: number): ReplyActivity => ({
  ...{
    messageId: replyId,
    from,
    total,
    sparsity: 'fast',
    modelHash: 'ab',
    modelName: 'Tiny',
    seed: 7,
    version: '0.1.0',
  },
  tokens: tokens(from, Math.min(count, total - from)),
  frames: Array.from({ length: Math.min(count, total - from) }, (_, i) => (from + i === 0 ? null : frame(from + i))),
});

let api: Record<string, ReturnType<typeof vi.fn>>;
beforeEach(() => {
  useStore.setState(initial, true);
  api = {
    watch: vi.fn(() => ok(null)),
    reply: vi.fn(({ from, count }: { from: number; count: number }) => ok(activity(from, count))),
    rerun: vi.fn(),
    cancelRerun: vi.fn(() => ok(null)),
    save: vi.fn(() => ok({ path: '/x' })),
    open: vi.fn(),
  };
  vi.stubGlobal('api', {
    activity: api,
    settings: { set: vi.fn((patch: object) => ok({ ...state().settings, ...patch })) },
  });
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe('the frames of many replies', () => {
  it('take no more room than those of one may; what is looked at or written stays', () => {
    const one = encodeFrame(patternFrame({ layers: 80, neurons: 28_672, heads: 64 }, 1));
    const count = Math.ceil((0.4 * keptBytes) / one.byteLength);
    const add = (id: string): void => {
      const source = replySource(id, id);
      source.track.put(
        0,
        tokens(0, count),
        Array.from({ length: count }, () => one),
      );
      state().addSource(source);
    };
    const held = (id: string): boolean => state().sources[id]!.track.bytesHeld > 0;
    add('looked at');
    useStore.setState({ sourceId: 'looked at' });
    add('first');
    add('second');
    add('third');
    expect(['looked at', 'first', 'second', 'third'].filter(held)).toEqual(['looked at', 'second', 'third']);
    add('fourth');
    expect(['looked at', 'second', 'third', 'fourth'].filter(held)).toEqual(['looked at', 'third', 'fourth']);
    expect(state().sources['first']!.track.length).toBe(count);
  });
});

describe('capture', () => {
  it('is on while the panel is open, and told to a new engine', () => {
    state().toggleActivity();
    expect(api.watch).toHaveBeenLastCalledWith({ mode: 'summary', auditEvery: 16 });
    state().setCapture({ mode: 'full' });
    expect(api.watch).toHaveBeenLastCalledWith({ mode: 'full', auditEvery: 16 });
    state().sendCapture();
    expect(api.watch).toHaveBeenCalledTimes(3);
    state().toggleActivity();
    expect(api.watch).toHaveBeenLastCalledWith({ mode: 'off', auditEvery: 0 });
    state().sendCapture();
    expect(api.watch).toHaveBeenCalledTimes(4);
  });
});

describe('a reply that is written', () => {
  it('is followed token by token, and not once the person has gone elsewhere', async () => {
    state().beginFrames(message);
    useStore.setState({ messages: { [replyId]: message }, live: { [replyId]: {} as never } });
    await state().lookAt(replyId);
    state().receiveFrames(replyId, {
      type: 'frames',
      from: 0,
      tokens: tokens(0, 3),
      frames: [null, frame(1), frame(2)],
    });
    vi.advanceTimersByTime(200);
    expect(state().token).toBe(2);
    state().moveToken(1);
    state().receiveFrames(replyId, { type: 'frames', from: 3, tokens: tokens(3, 2), frames: [frame(3), null] });
    vi.advanceTimersByTime(200);
    expect(state().token).toBe(1);
    expect(state().sources[replyId]!.track.length).toBe(5);
    state().follow();
    expect([state().token, state().following]).toEqual([4, true]);
  });

  it('takes frames that come after their tokens', () => {
    state().beginFrames(message);
    state().receiveFrames(replyId, { type: 'frames', from: 0, tokens: tokens(0, 3), frames: [null, null, frame(2)] });
    state().receiveFrames(replyId, {
      type: 'frames',
      from: 0,
      tokens: tokens(0, 3),
      frames: [null, frame(1), frame(2)],
    });
    const { track } = state().sources[replyId]!;
    expect(track.frame(1)).toEqual(expect.objectContaining({ sequence: 1 }));
    expect(track.framed).toBe(2);
  });

  it('begins anew when it is written again; continued, it goes on where it ended', () => {
    state().beginFrames(message);
    state().receiveFrames(replyId, {
      type: 'frames',
      from: 0,
      tokens: tokens(0, 3),
      frames: [null, frame(1), frame(2)],
    });
    state().beginFrames({ ...message, text: 't0 t1 t2 ' });
    state().receiveFrames(replyId, { type: 'frames', from: 0, tokens: tokens(3, 1), frames: [frame(3)] });
    expect(state().sources[replyId]!.track.tokens.map(({ id }) => id)).toEqual([0, 1, 2, 3]);
    state().beginFrames(message);
    state().receiveFrames(replyId, { type: 'frames', from: 0, tokens: tokens(9, 1), frames: [null] });
    expect(state().sources[replyId]!.track.tokens.map(({ id }) => id)).toEqual([9]);
  });

  it('counts for the slowdown when it was captured alike from start to end', () => {
    const stats = {
      promptTokens: 1,
      cachedTokens: 0,
      generatedTokens: 50,
      timeToFirstTokenMs: 1,
      tokensPerSecond: 80,
      stopReason: 'end',
    } as const;
    const provenance = { modelId: 'm', modelName: 'M', sampling: { ...defaultSampling, seed: 1 }, sparsity: 'exact' };
    const done: Message = { ...message, status: 'complete', stats, provenance };
    state().beginFrames(message);
    state().endFrames(done);
    state().toggleActivity();
    state().beginFrames(message);
    state().endFrames({ ...done, stats: { ...stats, tokensPerSecond: 78 } });
    state().beginFrames(message);
    state().toggleActivity();
    state().endFrames(done);
    expect(state().speeds.map(({ mode, tokensPerSecond }) => [mode, tokensPerSecond])).toEqual([
      ['off', 80],
      ['summary', 78],
    ]);
  });
});

describe('a reply of yesterday', () => {
  it('comes in chunks, whole', async () => {
    await state().lookAt(replyId);
    const { track, provenance } = state().sources[replyId]!;
    expect(api.reply!.mock.calls.map(([{ from, count }]) => [from, count])).toEqual([
      [0, 256],
      [256, 256],
      [512, 256],
    ]);
    expect(track.length).toBe(total);
    expect(track.framed).toBe(total - 1);
    expect(provenance).toMatchObject({ seed: 7, sparsity: 'fast', edits: [] });
    await state().lookAt(replyId, 3);
    expect(api.reply).toHaveBeenCalledTimes(3);
    expect([state().token, state().following]).toEqual([3, false]);
    expect(await state().framesOf(replyId)).toHaveLength(total);
  });

  it('knows the hash of its model when it is exported, not before', async () => {
    api.reply!.mockImplementationOnce(({ from, count }: { from: number; count: number }) =>
      ok({ ...activity(from, count), total: 256, modelHash: '' }),
    );
    await state().lookAt(replyId);
    const source = state().sources[replyId]!;
    expect(source.provenance!.modelHash).toBe('');
    expect((await state().withProvenance(source)).provenance!.modelHash).toBe('ab');
    expect(state().sources[replyId]!.provenance!.modelHash).toBe('ab');
  });

  it('that is gone says so', async () => {
    api.reply!.mockImplementation(() => refused('not-found', 'This reply is gone.'));
    await state().lookAt(replyId);
    expect(state().notices[0]!.text).toBe('This reply is gone.');
  });
});

describe('runs', () => {
  const run: Rerun = {
    runId: 'r1',
    activity: activity(0, 5),
    text: 'x',
    tokensPerSecond: 9,
    surprise: new Float32Array(5),
    kl: 0.1,
  };
  const request = {
    messageId: replyId,
    position: 0.8,
    mode: 'write',
    edits: [],
    auditEvery: 4,
    maxTokens: 64,
  } as const;

  it('become sources, one at a time', async () => {
    let finish: (value: unknown) => void = () => {};
    api.rerun!.mockImplementation(() => new Promise((resolve) => (finish = resolve)));
    const first = state().rerun({ ...request, edits: [] }, 'Written at fast');
    expect(state().rerunning).toBe('Written at fast');
    expect(await state().rerun({ ...request, edits: [] }, 'Another')).toBeNull();
    finish({ ok: true, value: run });
    expect((await first)!.id).toBe('r1');
    expect(state().sources['r1']).toMatchObject({ kind: 'run', label: 'Written at fast', kl: 0.1 });
    expect(state().rerunning).toBeNull();
  });

  it('that are cancelled leave nothing but a word', async () => {
    api.rerun!.mockImplementation(() => refused('cancelled', 'Cancelled.'));
    expect(await state().rerun({ ...request, edits: [] }, 'Written')).toBeNull();
    expect(state().notices).toEqual([]);
    expect(state().announcement.text).toBe('Written: cancelled.');
  });

  it('are let go, the oldest first', async () => {
    for (let i = 0; i < 12; i++) {
      api.rerun!.mockImplementation(() => ok({ ...run, runId: `r${i}` }));
      await state().rerun({ ...request, edits: [] }, 'Written');
    }
    expect(Object.keys(state().sources)).toEqual(Array.from({ length: 8 }, (_, i) => `r${i + 4}`));
  });

  it('keep edits one a place', () => {
    state().addEdit({ kind: 'head', layer: 1, index: 0, action: 'off', value: 0 });
    state().addEdit({ kind: 'head', layer: 1, index: 0, action: 'clamp', value: 2 });
    expect(state().edits).toHaveLength(1);
    expect(state().announcement.text).toBe('Added: layer 1 head 0 at most ±2.');
    state().removeEdit(0);
    expect(state().edits).toEqual([]);
  });

  it('and files come back, or are refused without a trace', async () => {
    const bytes = writeFramesFile(runSource(run, 'Run', replyId, []), run.activity.frames);
    api.open!.mockImplementation(() => ok({ name: 'a.hunchframes', bytes }));
    await state().openActivity();
    const imported = Object.values(state().sources)[0]!;
    expect(imported).toMatchObject({ kind: 'imported', label: 'a.hunchframes: Run' });
    expect([state().sourceId, state().token]).toEqual([imported.id, 1]);
    api.open!.mockImplementation(() => ok({ name: 'b.hunchframes', bytes: bytes.slice(0, 99) }));
    await state().openActivity();
    expect(Object.keys(state().sources)).toEqual([imported.id]);
    expect(state().notices[0]!.text).toBe('“b.hunchframes” is cut off.');
    api.open!.mockImplementation(() => ok(null));
    await state().openActivity();
    expect(state().notices).toHaveLength(1);
  });
});
