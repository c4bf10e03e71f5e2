import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Edit } from '../../electron/contract/activity';
import { defaultSampling } from '../../electron/contract/entities';
import { decodeFrame, decodeRecord, layerValues, neuronState, stateOf } from '../../electron/contract/frames';
import { ActivityAnswers } from '../../electron/engine/activityAnswers';
import type { AnswerOf, AskOf } from '../../electron/engine/activityProtocol';
import type { FramesProgress } from '../../electron/engine/activityTrail';
import { Runtime, type ChatTurn } from '../../electron/engine/runtime';
import { encodeFrame, summaryOf } from '../helpers/frames';
import { giveFrontier, linkStarter } from '../helpers/sparseModel';
import { hunch } from '../unit/cli/captured';

const folder = mkdtempSync(path.join(tmpdir(), 'hunch-activity-'));
const ring = { path: path.join(folder, 'ring'), bytes: 64 * 2 ** 20 };
const full = { mode: 'full', auditEvery: 4 } as const;
const off = { mode: 'off', auditEvery: 0 } as const;
const question: ChatTurn = { role: 'user', text: 'Write a story about a lighthouse.' };
const sampling = { ...defaultSampling, seed: 5, maxTokens: 60 };
const at = (position: number) => ({ position, correction: false, speculation: false });

let runtime: Runtime;
let answers: ActivityAnswers;
let chats = 0;

async function ask(position: number, messages = [question], more: object = {}) {
  const source = `reply ${chats}`;
  const tokens: FramesProgress['tokens'] = [];
  const frames: FramesProgress['frames'] = [];
  const request = { chatKey: `chat ${chats++}`, source, systemPrompt: '', messages, sampling, sparsity: at(position) };
  const { text } = await runtime.reply({ ...request, ...more }, (event) => {
    if (event.type !== 'frames') return;
    expect(event.from).toBe(tokens.length);
    tokens.push(...event.tokens);
    frames.push(...event.frames);
  }).promise;
  return { source, text, tokens, frames, position, messages };
}
type Asked = Awaited<ReturnType<typeof ask>>;

const again = (reply: Asked, more: Partial<AskOf<'rerun'>>) =>
  answers.answer({
    ...{ kind: 'rerun', runId: `run ${chats++}`, source: reply.source, sampling, sparsity: at(reply.position) },
    written: { systemPrompt: '', messages: reply.messages, text: reply.text, tokens: reply.tokens.map(({ id }) => id) },
    ...{ mode: 'write', edits: [], auditEvery: 4, maxTokens: null },
    ...more,
  }) as Promise<AnswerOf<'rerun'>>;

beforeAll(async () => {
  const file = linkStarter(folder);
  await giveFrontier(file);
  runtime = await Runtime.open(file, { contextLength: 512 });
  answers = new ActivityAnswers(runtime);
});
afterAll(async () => {
  await runtime.close();
  expect(existsSync(ring.path)).toBe(false);
  rmSync(folder, { recursive: true, force: true });
});

describe('a watched reply', () => {
  it('has the text of an unwatched one, with a frame and a record for each token but the first', async () => {
    for (const position of [0, 0.2, 0.8]) {
      runtime.activity.watch(off, ring);
      const plain = await ask(position);
      expect(plain.frames).toEqual([]);
      runtime.activity.watch(full, ring);
      const watched = await ask(position);
      expect(watched.text).toBe(plain.text);
      expect(watched.tokens.map(({ text }) => text).join('')).toBe(watched.text);
      expect(watched.frames.findIndex((frame) => frame === null)).toBe(0);
      expect(watched.frames.lastIndexOf(null)).toBe(0);
      for (const [index, bytes] of watched.frames.entries()) {
        const record = runtime.activity.record(watched.source, index);
        expect(record === null).toBe(bytes === null);
        if (!bytes) continue;
        const frame = decodeFrame(bytes);
        expect(frame.token).toBe(watched.tokens[index - 1]!.id);
        // Bit for bit what the record gives when it is summed up.
        const summed = { ...summaryOf(decodeRecord(record!), frame.blockSize), microseconds: frame.microseconds };
        expect(Buffer.compare(encodeFrame(summed), bytes)).toBe(0);
      }
    }
  });

  it('is audited every so many tokens, and says what was missed only then', async () => {
    runtime.activity.watch(full, ring);
    const { frames } = await ask(0.8);
    const decoded = frames.flatMap((bytes) => (bytes ? [decodeFrame(bytes)] : []));
    const audits = decoded.filter(({ audit }) => audit);
    expect(audits.length).toBeGreaterThanOrEqual(Math.floor(decoded.length / 4));
    expect(audits.length).toBeLessThanOrEqual(Math.ceil(decoded.length / 4));
    expect(decoded.every(({ audit, missed }) => (missed === null) === !audit)).toBe(true);
  });

  it('tells what was passed over when it is watched from its midst on', async () => {
    runtime.activity.watch(off, ring);
    const events: FramesProgress[] = [];
    const request = { chatKey: 'midst', systemPrompt: '', messages: [question], sampling, sparsity: at(0.2) };
    const { text } = await runtime.reply(request, (event) => {
      if (event.type === 'frames') events.push(event);
      if (event.type === 'text' && event.tokens >= 20) runtime.activity.watch(full, ring);
    }).promise;
    expect(events[0]!.from).toBe(0);
    expect(events[0]!.frames.slice(0, 20)).toEqual(new Array(20).fill(null));
    const tokens = events.flatMap((event) => event.tokens);
    expect(tokens.map((token) => token.text).join('')).toBe(text);
    expect(events.flatMap(({ frames }) => frames).filter((frame) => frame).length).toBeGreaterThan(20);
    runtime.activity.watch(off, ring);
  });
});

describe('neurons', () => {
  it('have over all tokens the values of the records', async () => {
    runtime.activity.watch(full, ring);
    const { source, frames } = await ask(0.2);
    const records = frames.map((_, index) => runtime.activity.record(source, index));
    const [layer, neuron] = [3, 77];
    const values = (await runtime.activity.neuron(source, layer, neuron))!;
    expect(values).toHaveLength(frames.length);
    const rates = await runtime.activity.rates(source);
    expect(rates).toMatchObject({ tokens: frames.length - 1, layers: 30, neurons: 1536 });
    let active = 0;
    for (const [index, bytes] of records.entries()) {
      if (!bytes) {
        expect(values[index]).toBeNaN();
        continue;
      }
      const record = decodeRecord(bytes);
      expect(values[index]).toEqual(layerValues(record, layer)[neuron]);
      if (stateOf(record, layer, neuron) & neuronState.active) active++;
    }
    expect(rates.active[layer * 1536 + neuron]).toBe(active);
    expect(rates.active.reduce((sum, count) => sum + count, 0)).toBe(
      records.reduce((sum, bytes) => sum + (bytes ? decodeRecord(bytes).values.length : 0), 0),
    );
    await expect(runtime.activity.neuron(source, 30, 0)).rejects.toMatchObject({ code: 'bad-request' });
    expect(await runtime.activity.neuron('nobody', 0, 0)).toBeNull();
  });
});

describe('a reply that is run again', () => {
  it.each([0, 0.2, 0.8])('without edits writes the same tokens with the same frames at %d', async (position) => {
    runtime.activity.watch(full, ring);
    const reply = await ask(position);
    const written = await again(reply, {});
    expect(written.tokens).toEqual(reply.tokens);
    expect(written).toMatchObject({ text: reply.text, seed: sampling.seed });
    const counts = (frames: (Uint8Array | null)[]) =>
      frames.map((bytes) => bytes && decodeFrame(bytes).layers.map(({ computed, active }) => [computed, active]));
    expect(counts(written.frames)).toEqual(counts(reply.frames));
    expect(written.surprise).toHaveLength(reply.tokens.length);
    expect(written.tokensPerSecond).toBeGreaterThan(0);
    if (position < 0.5) expect(written.kl).toBeCloseTo(0, 6);
    else expect(written.kl).toBeGreaterThan(0);
    const followed = await again(reply, { mode: 'follow' });
    expect(followed.tokens).toEqual(reply.tokens);
    expect(followed.surprise).toEqual(written.surprise);
    expect(counts(followed.frames)).toEqual(counts(reply.frames));
    expect(followed.frames[0]).toBeNull();
  });

  it('repeats the second reply of a chat, token by token', async () => {
    runtime.activity.watch(off, ring);
    const first = await ask(0.2);
    const messages: ChatTurn[] = [question, { role: 'assistant', text: first.text }, { role: 'user', text: 'Go on.' }];
    const second = await ask(0.2, messages, { chatKey: `chat ${chats - 1}` });
    expect(second.text).not.toBe('');
    const written = await again({ ...second, source: second.source }, {});
    expect(written.text).toBe(second.text);
  });

  it('is found again by text when the engine has forgotten it', async () => {
    runtime.activity.watch(full, ring);
    const reply = await ask(0.2);
    const forgotten = { ...reply, source: 'forgotten' };
    expect((await again(forgotten, { mode: 'follow' })).tokens).toEqual(reply.tokens);
    expect((await again({ ...forgotten, tokens: [] }, { mode: 'follow' })).text).toBe(reply.text);
    expect((await again(forgotten, {})).text).toBe(reply.text);
  });

  it('changes with edits, not with those that change nothing', async () => {
    runtime.activity.watch(full, ring);
    const reply = await ask(0.2);
    const clamp: Edit = { kind: 'neuron', layer: 2, index: 5, action: 'clamp', value: 1e6 };
    const same = await again(reply, { edits: [clamp] });
    expect(same.tokens).toEqual(reply.tokens);
    expect(same.kl).toBeNull();
    const heads = Array.from({ length: 9 }, (_, index): Edit => ({
      kind: 'head',
      layer: 4,
      index,
      action: 'off',
      value: 0,
    }));
    expect((await again(reply, { edits: heads })).text).not.toBe(reply.text);
    await expect(again(reply, { edits: [{ ...clamp, layer: 99 }] })).rejects.toMatchObject({ code: 'bad-request' });
    // The chat's own session knows nothing of it.
    expect((await ask(0.2)).text).toBe(reply.text);
  });

  it('keeps records under its own name, and obeys its length', async () => {
    runtime.activity.watch(full, ring);
    const reply = await ask(0.2);
    const run = await again(reply, { runId: 'mine', mode: 'follow', maxTokens: 10 });
    expect(run.tokens).toEqual(reply.tokens.slice(0, 10));
    expect(decodeRecord(runtime.activity.record('mine', 9)!).token).toBe(reply.tokens[8]!.id);
    expect(await runtime.activity.neuron('mine', 0, 0)).toHaveLength(10);
  });

  it('runs one at a time and ends when cancelled', async () => {
    const reply = await ask(0.2);
    const one = again(reply, { sampling: { ...sampling, maxTokens: 400, temperature: 2, seed: 9 } });
    await expect(again(reply, {})).rejects.toMatchObject({ code: 'busy' });
    setTimeout(() => answers.cancel(), 100);
    await expect(one).rejects.toMatchObject({ code: 'cancelled' });
    expect((await again(reply, { mode: 'follow', maxTokens: 3 })).tokens).toHaveLength(3);
  });
});

describe('the logit lens', () => {
  it('ends with the token that was drawn greedily', async () => {
    runtime.activity.watch(off, ring);
    const reply = await ask(0, [question], { sampling: { ...sampling, temperature: 0, repeatPenalty: 1 } });
    const ids = await runtime.tokenizer.encode(reply.text, { parseSpecial: false });
    for (const index of [0, 7]) {
      const { layers } = (await answers.answer({
        ...{ kind: 'lens', source: reply.source, index, written: null },
      })) as AnswerOf<'lens'>;
      expect(layers).toHaveLength(30);
      const last = layers[29]!;
      expect(last).toHaveLength(20);
      expect(last[0]!.id).toBe(runtime.activity.sources.get(reply.source)!.ids[index]);
      for (const layer of layers) {
        for (let i = 1; i < 20; i++) expect(layer[i]!.probability).toBeLessThanOrEqual(layer[i - 1]!.probability);
        expect(layer.reduce((sum, { probability }) => sum + probability, 0)).toBeLessThanOrEqual(1.0001);
      }
    }
    const written = { systemPrompt: '', messages: [question], text: reply.text, tokens: ids };
    const from = (source: string) => answers.answer({ kind: 'lens', source, index: 7, written });
    expect(await from('forgotten')).toEqual(await from(reply.source));
    await expect(answers.answer({ kind: 'lens', source: 'nobody', index: 0, written: null })).rejects.toMatchObject({
      code: 'not-found',
    });
  });
});

/** A line of the dump. */
interface DumpedToken {
  index: number;
  text: string;
  frame: object | null;
  frameBase64: string | null;
  record: object | null;
  recordBase64: string | null;
}

describe('hunch run --activity', () => {
  const dumpOf = async (file: string, ...more: string[]) => {
    const args = ['--seed', '5', '-n', '20', '--sparsity', 'exact', '--audit-every', '4', '--activity', file];
    return hunch('run', 'Write a story about a lighthouse.', ...args, ...more);
  };

  it('writes what each token needed as the engine gave it, and leaves the reply as it was', async () => {
    const file = path.join(folder, 'dump.json');
    const { stdout, exitCode } = await dumpOf(file);
    expect(exitCode).toBe(0);
    const lines = readFileSync(file, 'utf8').trim().split('\n');
    expect(lines).toHaveLength(20);
    let text = '';
    for (const [index, line] of lines.entries()) {
      const token = JSON.parse(line) as DumpedToken;
      text += token.text;
      expect(token.index).toBe(index);
      if (index === 0) {
        expect(token).toMatchObject({ frame: null, frameBase64: null, record: null, recordBase64: null });
        continue;
      }
      const frame = decodeFrame(new Uint8Array(Buffer.from(token.frameBase64!, 'base64')));
      const record = decodeRecord(new Uint8Array(Buffer.from(token.recordBase64!, 'base64')));
      expect(token.frame).toMatchObject({ layers: frame.layers, bytes: frame.bytes, active: [...frame.active] });
      expect(token.record).toMatchObject({ layers: record.layers, bytes: record.bytes, values: [...record.values] });
      expect([record.sequence, record.layers[0]!.computed > 0]).toEqual([frame.sequence, true]);
    }
    expect(stdout.trim()).toBe(text.trim());
  });

  it('says why a file cannot be written', async () => {
    const { stderr, exitCode } = await dumpOf(path.join(folder, 'missing', 'dump.json'));
    expect(stderr).toMatch(/dump\.json could not be written/);
    expect(exitCode).toBe(1);
  });
});
