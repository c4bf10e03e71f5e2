import { describe, expect, it } from 'vitest';
import type { Sparsity } from '../../../electron/contract/sparsity';
import { noSparsity } from '../../../electron/engine/hostSparsity';
import { collect, request, sleep, startHost } from './helpers';

const at = (position: number): Sparsity => ({ position, correction: false, speculation: false });
const until = async (look: () => boolean): Promise<void> => {
  for (const deadline = Date.now() + 10_000; !look(); await sleep(5)) {
    if (Date.now() > deadline) throw new Error('it did not happen within 10 s');
  }
};

describe('what the slider shows', () => {
  it('is the loaded model’s, known before the model is ready', async () => {
    const { host, sparsities } = startHost({
      onStatus: ({ state }) => state === 'ready' && seen.push(host.sparsity.state.modelId),
    });
    const seen: (string | null)[] = [];
    expect(host.sparsity.state).toEqual(noSparsity);
    await host.select('a');
    expect(seen).toEqual(['a']);
    expect(sparsities.at(-1)).toMatchObject({ modelId: 'a', stops: ['dense', 'exact'], calibration: null });
    await host.select('b');
    expect(sparsities.map(({ modelId }) => modelId)).toEqual(['a', null, 'b']);
  });

  it('is nothing after a crash', async () => {
    const { host, sparsities, children, waitFor } = startHost();
    await host.select('a');
    children[0]!.kill('SIGKILL');
    await until(() => host.status.state !== 'ready');
    await waitFor('ready');
    expect(sparsities.map(({ modelId }) => modelId)).toEqual(['a', null, 'a']);
  });
});

describe('moving the slider', () => {
  it('reaches the chat’s running reply, and no other', async () => {
    const { host } = startHost();
    const [mine, other] = [collect(), collect()];
    const running = host.reply('r1', 'a', request('forever', { chatKey: 'one', sparsity: at(0.2) }), mine.onEvent);
    const second = host.reply('r2', 'a', request('forever', { chatKey: 'two', sparsity: at(0.2) }), other.onEvent);
    await Promise.all([mine.until('tick'), other.until('tick')]);
    host.setSparsity('one', at(0.8));
    await until(() => mine.made() === 'at 0.2 → at 0.8');
    running.stop();
    second.stop();
    await Promise.all([running.promise, second.promise]);
    expect(other.made()).toBe('at 0.2');
  });

  it('counts for a reply that waits for its model', async () => {
    const { host } = startHost();
    const { onEvent, text } = collect();
    const reply = host.reply('r1', 'slow', request('echo', { chatKey: 'one', sparsity: at(0.2) }), onEvent);
    host.setSparsity('two', at(1));
    host.setSparsity('one', at(0.6));
    await reply.promise;
    expect(JSON.parse(text())).toMatchObject({ sparsity: at(0.6) });
  });
});

describe('calibrating', () => {
  it('needs a model', async () => {
    const { host } = startHost();
    await expect(host.sparsity.calibrate()).rejects.toMatchObject({ code: 'engine-unavailable' });
  });

  it('tells its progress and ends with the new stops', async () => {
    const { host, sparsities } = startHost();
    await host.select('quick');
    const both = [host.sparsity.calibrate(), host.sparsity.calibrate()];
    const [first, second] = await Promise.all(both);
    expect(first).toMatchObject({ stops: ['dense', 'exact', 'balanced'], calibration: null });
    expect(second).toEqual(first);
    expect(sparsities.map(({ calibration }) => calibration?.fraction)).toEqual([undefined, 0, 0.5, 0.5, undefined]);
  });

  it('ends when it is cancelled, and can begin again', async () => {
    const { host } = startHost();
    await host.select('a');
    for (const _ of ['first', 'again']) {
      const run = host.sparsity.calibrate();
      const failed = expect(run).rejects.toMatchObject({ code: 'cancelled' });
      await until(() => host.sparsity.state.calibration?.fraction === 0.5);
      host.sparsity.cancel();
      await failed;
      expect(host.sparsity.state.calibration).toBeNull();
    }
    host.sparsity.cancel();
  });

  it('ends when another model is loaded or the engine dies', async () => {
    const { host, children, waitFor } = startHost();
    await host.select('a');
    const replaced = expect(host.sparsity.calibrate()).rejects.toMatchObject({ code: 'cancelled' });
    await host.select('b');
    await replaced;
    expect(host.sparsity.state).toMatchObject({ modelId: 'b', calibration: null });
    const died = expect(host.sparsity.calibrate()).rejects.toMatchObject({ code: 'engine-crashed' });
    await until(() => host.sparsity.state.calibration?.fraction === 0.5);
    children[0]!.kill('SIGKILL');
    await died;
    await waitFor('ready');
    expect(host.sparsity.state).toMatchObject({ modelId: 'b', calibration: null });
  });
});
