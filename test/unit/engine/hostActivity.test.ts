import { describe, expect, it } from 'vitest';
import { defaultSampling } from '../../../electron/contract/entities';
import type { AskOf } from '../../../electron/engine/activityProtocol';
import type { ReplyProgress } from '../../../electron/engine/runtime';
import { collect, request, sleep, startHost } from './helpers';

const full = { mode: 'full', auditEvery: 16 } as const;
const ring = { path: '/tmp/ring', bytes: 2 ** 20 };

const rerunAsk = (more: Partial<AskOf<'rerun'>> = {}): AskOf<'rerun'> => ({
  ...{ kind: 'rerun', runId: 'run', source: 'reply', sampling: { ...defaultSampling, seed: 1 } },
  sparsity: { position: 0.2, correction: false, speculation: false },
  written: { systemPrompt: '', messages: [{ role: 'user', text: 'Hello' }], text: 'Hi', tokens: [1] },
  ...{ mode: 'follow', edits: [], auditEvery: 4, maxTokens: null },
  ...more,
});

async function said(host: ReturnType<typeof startHost>['host'], id: string, text: string): Promise<string> {
  const reply = collect();
  await host.reply(id, 'a', request(text), reply.onEvent).promise;
  return reply.text();
}

describe('what is watched', () => {
  it('reaches the engine with the ring, whether it runs already or not', async () => {
    const { host } = startHost({ ring: () => ring });
    await host.select('a');
    expect(JSON.parse(await said(host, 'r1', 'captured'))).toMatchObject({ capture: { mode: 'off' }, ring });
    host.activity.watch(full);
    expect(JSON.parse(await said(host, 'r2', 'captured'))).toMatchObject({ capture: full, ring });
  });

  it('is remembered over a crash and over loads', async () => {
    const { host, children, waitFor } = startHost({ ring: () => ring });
    host.activity.watch(full);
    await host.select('a');
    expect(JSON.parse(await said(host, 'r1', 'captured'))).toMatchObject({ capture: full });
    children[0]!.kill('SIGKILL');
    await waitFor('crashed');
    await waitFor('ready');
    expect(children).toHaveLength(2);
    expect(JSON.parse(await said(host, 'r2', 'captured'))).toMatchObject({ capture: full });
  });

  it('comes with frames whose bytes are all there, after the text of their tokens', async () => {
    const { host } = startHost({ ring: () => ring });
    host.activity.watch({ mode: 'summary', auditEvery: 0 });
    const events: ReplyProgress[] = [];
    await host.reply('r', 'a', request('count 3'), (event) => events.push(event)).promise;
    const kinds = events.filter(({ type }) => type === 'text' || type === 'frames').map(({ type }) => type);
    expect(kinds).toEqual(['text', 'frames', 'text', 'frames', 'text', 'frames']);
    const frames = events.flatMap((event) => (event.type === 'frames' ? event.frames : []));
    expect(frames[0]).toBeNull();
    for (const index of [1, 2]) {
      expect(frames[index]).toBeInstanceOf(Uint8Array);
      expect(frames[index]!.byteLength).toBe(70_000);
      expect(frames[index]!.every((value, i) => value === (i + index) % 251)).toBe(true);
    }
  });

  it('sends no frames while nothing is watched', async () => {
    const { host } = startHost({ ring: () => ring });
    const events: ReplyProgress[] = [];
    await host.reply('r', 'a', request('count 3'), (event) => events.push(event)).promise;
    expect(events.some(({ type }) => type === 'frames')).toBe(false);
  });
});

describe('questions', () => {
  it('are answered each with its own', async () => {
    const { host } = startHost();
    await host.select('a');
    const record = (index: number) => host.ask<'record'>({ kind: 'record', source: 's', index });
    const [one, two, rates] = await Promise.all([
      record(1),
      record(2),
      host.ask<'rates'>({ kind: 'rates', source: null }),
    ]);
    expect([one.record![0], two.record![0]]).toEqual([1, 2]);
    expect(rates.rates).toEqual({ tokens: 2, layers: 1, neurons: 3, active: Uint32Array.of(2, 0, 1) });
  });

  it('need a model, or name the one to load', async () => {
    const { host } = startHost();
    await expect(host.ask<'hash'>({ kind: 'hash' })).rejects.toMatchObject({ code: 'engine-unavailable' });
    expect(await host.ask<'hash'>({ kind: 'hash' }, 'a')).toEqual({ kind: 'hash', sha256: 'c'.repeat(64) });
    expect(host.status).toMatchObject({ state: 'ready', modelId: 'a' });
    await expect(host.ask<'hash'>({ kind: 'hash' }, 'gone')).rejects.toMatchObject({ code: 'model-missing' });
  });

  it('fail with the engine when it dies, and others are answered by the next one', async () => {
    const { host, waitFor } = startHost();
    await host.select('a');
    const dying = host.ask<'lens'>({ kind: 'lens', source: 's', index: 0, written: null });
    const waiting = host.ask<'rerun'>(rerunAsk({ mode: 'write' }));
    for (const one of [dying, waiting]) await expect(one).rejects.toMatchObject({ code: 'engine-crashed' });
    await waitFor('ready');
    expect((await host.ask<'rerun'>(rerunAsk())).tokensPerSecond).toBe(12);
  });

  it('do not wait for ever for an answer that cannot be read or is another one’s', async () => {
    const { host, log } = startHost();
    await host.select('a');
    for (const index of [404, 405]) {
      const lens = host.ask<'lens'>({ kind: 'lens', source: 's', index, written: null });
      await expect(lens).rejects.toMatchObject({ code: 'internal' });
    }
    expect(log.some((line) => line.includes('unreadable'))).toBe(true);
  });

  it('leave replies and the queue alone while one is run again, and can be cancelled', async () => {
    const { host } = startHost();
    const again = host.ask<'rerun'>(rerunAsk({ mode: 'write' }), 'a');
    const settled = again.then(
      () => 'answered',
      (error: { code: string }) => error.code,
    );
    expect(await said(host, 'r', 'count 2')).toBe('1 2 ');
    expect(await Promise.race([settled, sleep(50).then(() => 'running')])).toBe('running');
    host.activity.cancelRerun();
    expect(await settled).toBe('cancelled');
    host.activity.cancelRerun();
  });

  it('are not asked any more when they were cancelled while the model loads', async () => {
    const { host } = startHost();
    const again = host.ask<'rerun'>(rerunAsk({ mode: 'write' }), 'slow');
    await sleep(100);
    host.activity.cancelRerun();
    await expect(again).rejects.toMatchObject({ code: 'cancelled' });
    expect((await host.ask<'rerun'>(rerunAsk(), 'slow')).kl).toBe(0.25);
  });
});
