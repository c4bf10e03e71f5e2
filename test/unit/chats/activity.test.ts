import { brotliCompressSync } from 'node:zlib';
import { DatabaseSync } from '@photostructure/sqlite';
import { describe, expect, it } from 'vitest';
import { ActivityStore } from '../../../electron/chats/activityStore';
import { chunkTokens, packFrames, packFramesNow, unpackFrames } from '../../../electron/chats/frameChunks';
import { KeptActivity } from '../../../electron/chats/keptActivity';
import type { ErrorBody } from '../../../electron/contract/errors';
import type { FramesProgress } from '../../../electron/engine/activityTrail';
import { encodeFrame, patternFrame } from '../../helpers/frames';
import { defaults, message, openStore } from './helpers';

const shape = { layers: 4, neurons: 100, heads: 4 };
const frameOf = (index: number): Uint8Array => encodeFrame(patternFrame(shape, index));
/** The first token of a run has none. */
const run = (from: number, count: number): FramesProgress => ({
  ...{ type: 'frames', from, whole: true },
  tokens: Array.from({ length: count }, (_, i) => ({ id: from + i, text: `t${from + i} ` })),
  frames: Array.from({ length: count }, (_, i) => (from + i === 0 ? null : frameOf(from + i))),
});

function setup(mostBytes: () => number = () => 2 ** 30) {
  const opened = openStore();
  const store = new ActivityStore(opened.db, opened.file, mostBytes);
  const problems: ErrorBody[] = [];
  const log: string[] = [];
  const kept = new KeptActivity({
    store,
    version: '1.2.3',
    modelHash: async (modelId) => `hash of ${modelId}`,
    onProblem: (problem) => problems.push(problem),
    log: (line) => log.push(line),
  });
  const chat = opened.store.create(defaults);
  const question = message('user', null, 'q');
  const replies = [0, 1, 2].map(() => message('assistant', question.id, 'a'));
  opened.store.append(chat.id, [question, ...replies]);
  const [first, second, third] = replies.map(({ id }) => id) as [string, string, string];
  return { ...opened, frames: store, kept, problems, log, chat, first, second, third };
}

describe('a chunk of frames', () => {
  it('comes back as it was, at once or not', async () => {
    const frames = [null, frameOf(1), null, frameOf(3), new Uint8Array(1)];
    for (const packed of [await packFrames(frames), packFramesNow(frames)]) {
      const back = await unpackFrames(packed, frames.length);
      expect(back).toEqual(frames);
      // Each with memory of its own.
      for (const frame of back) expect(frame?.buffer.byteLength ?? 0).toBe(frame?.byteLength ?? 0);
    }
    expect(await packFrames([null, null])).toBeNull();
    expect(await unpackFrames(null, 2)).toEqual([null, null]);
  });

  it('is empty where its bytes are not what was written', async () => {
    const packed = (await packFrames([frameOf(1), frameOf(2)]))!;
    for (const broken of [packed.subarray(0, 20), Uint8Array.of(1, 2, 3), new Uint8Array(0)]) {
      expect(await unpackFrames(broken, 2)).toEqual([null, null]);
    }
    expect(await unpackFrames(packed, 3)).toEqual([null, null, null]);
    // 5 MB of zeros in some bytes.
    const bomb = brotliCompressSync(new Uint8Array(5 * 2 ** 20));
    expect(bomb.byteLength).toBeLessThan(1000);
    expect(await unpackFrames(bomb, 1)).toEqual([null]);
  });
});

describe('frames kept with a message', () => {
  it('are those that came, in chunks, whole or in part', async () => {
    const { kept, frames, first, second } = setup();
    expect(kept.begin(first, 'model')).toBe(0);
    const all = run(0, 200);
    for (let at = 0; at < 200; at += 7) {
      const part = { tokens: all.tokens.slice(at, at + 7), frames: all.frames.slice(at, at + 7) };
      kept.add(first, { type: 'frames', from: at, ...part, whole: true });
    }
    // While it is written, too.
    expect(kept.total(first)).toBe(200);
    expect((await kept.part(first, 0, 200)).tokens).toEqual(all.tokens);
    await kept.end(first);
    expect(frames.chunks(first, 0, 200).map(({ tokens }) => tokens.length)).toEqual([64, 64, 64, 8]);
    expect(await kept.part(first, 0, 1000)).toEqual({ tokens: all.tokens, frames: all.frames });
    expect(await kept.part(first, 60, 10)).toEqual({
      tokens: all.tokens.slice(60, 70),
      frames: all.frames.slice(60, 70),
    });
    expect(await kept.part(first, 200, 10)).toEqual({ tokens: [], frames: [] });
    expect(kept.tokenIds(first)).toEqual(all.tokens.map(({ id }) => id));
    expect([kept.total(first), kept.total(second)]).toEqual([200, 0]);
    expect(frames.origin(first)).toEqual({ modelHash: 'hash of model', version: '1.2.3' });
    expect(frames.origin(second)).toBeNull();
  });

  it('go on where the first part of a continued reply ended, even before that is on the disk', async () => {
    const { kept, first, log } = setup();
    kept.begin(first, 'model');
    kept.add(first, run(0, 70));
    const ended = kept.end(first);
    expect(kept.begin(first, 'model')).toBe(70);
    kept.add(first, { ...run(70, 5), from: 0 });
    await ended;
    kept.add(first, { ...run(75, 70), from: 5 });
    await kept.end(first);
    const { tokens, frames } = await kept.part(first, 0, 1000);
    expect(tokens.map(({ id }) => id)).toEqual(Array.from({ length: 145 }, (_, i) => i));
    expect(frames.slice(1)).toEqual(run(1, 144).frames);
    expect(log).toEqual([]);
  });

  it('go with their message', async () => {
    const { kept, store, frames, chat, first, db } = setup();
    kept.begin(first, 'model');
    kept.add(first, run(0, 70));
    await kept.end(first);
    expect(frames.size()).toBeGreaterThan(0);
    store.remove(chat.id);
    expect(kept.total(first)).toBe(70);
    store.settle();
    expect([kept.total(first), frames.size(), frames.origin(first)]).toEqual([0, 0, null]);
    expect(db.prepare('SELECT count(*) AS n FROM activity').get()).toEqual({ n: 0 });
  });

  it('make room for newer ones, oldest first; tokens stay', async () => {
    const room = { bytes: 2 ** 30 };
    const { kept, frames, first, second, third } = setup(() => room.bytes);
    const keep = async (id: string): Promise<void> => {
      kept.begin(id, 'model');
      kept.add(id, run(0, chunkTokens));
      await kept.end(id);
    };
    await keep(first);
    await keep(second);
    const each = frames.size() / 2;
    room.bytes = Math.floor(each * 2.5);
    await keep(third);
    expect(frames.size()).toBeLessThanOrEqual(room.bytes);
    const has = async (id: string) => (await kept.part(id, 0, 100)).frames.filter((frame) => frame).length;
    expect([await has(first), await has(second), await has(third)]).toEqual([0, 63, 63]);
    expect(kept.tokenIds(first)).toHaveLength(chunkTokens);
    room.bytes = 0;
    await keep(first);
    expect((await kept.part(first, chunkTokens, 100)).tokens).toHaveLength(chunkTokens);
    expect(await has(first)).toBe(0);
    expect(await has(third)).toBe(63);
  });

  it('are dropped when the disk is full, which is told once; the next reply’s are kept again', async () => {
    const { kept, db, problems, first, second } = setup();
    const pages = (db.prepare('PRAGMA page_count').get() as { page_count: number }).page_count;
    db.exec(`PRAGMA max_page_count = ${pages + 2}`);
    for (const id of [first, second]) {
      kept.begin(id, 'model');
      kept.add(id, run(0, 300));
      await kept.end(id);
    }
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatchObject({
      code: 'disk-full',
      message: expect.stringMatching(/The reply itself goes on/),
    });
    db.exec('PRAGMA max_page_count = 1000000');
    const from = kept.begin(first, 'model');
    kept.add(first, run(0, 10));
    await kept.end(first);
    expect(kept.total(first)).toBe(from + 10);
  });

  it('are on the disk when the app closes in the midst of a reply', async () => {
    const { kept, first, file } = setup();
    kept.begin(first, 'model');
    kept.add(first, run(0, 100));
    kept.endAll();
    const other = new DatabaseSync(file, { readOnly: true });
    expect(other.prepare('SELECT sum(count) AS n FROM activity WHERE message_id = ?').get(first)).toEqual({ n: 100 });
    other.close();
    // What was being packed meanwhile is not saved twice.
    await kept.end(first);
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(kept.total(first)).toBe(100);
    expect((await kept.part(first, 0, 1000)).frames.slice(1)).toEqual(run(1, 99).frames);
  });

  it('cost nothing for replies that nobody watched', async () => {
    const { kept, db, first } = setup();
    kept.begin(first, 'model');
    await kept.end(first);
    expect(
      db.prepare('SELECT (SELECT count(*) FROM activity) + (SELECT count(*) FROM activity_origins) AS n').get(),
    ).toEqual({ n: 0 });
  });

  it('read as nothing where the file was changed by hand', async () => {
    const { kept, db, first } = setup();
    kept.begin(first, 'model');
    kept.add(first, run(0, 3));
    await kept.end(first);
    db.exec("UPDATE activity SET tokens = 'no json'");
    expect(kept.tokenIds(first)).toEqual([]);
    await expect(kept.part(first, 0, 10)).resolves.toMatchObject({ tokens: [] });
  });
});
