// @vitest-environment happy-dom
import { act, cleanup, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import { Tooltip } from 'radix-ui';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Source } from '../../../renderer/activity/source';
import { FrameTrack } from '../../../renderer/activity/track';
import { blockWords } from '../../../renderer/activity/words';
import { Announcer } from '../../../renderer/components/Announcer';
import { ActivityPanel } from '../../../renderer/components/activity/ActivityPanel';
import { useStore } from '../../../renderer/store/store';
import { encodeFrame, encodeRecord, patternRecord, summaryOf } from '../../helpers/frames';

const initial = useStore.getState();
const state = () => useStore.getState();
const shape = { layers: 6, neurons: 96, heads: 4 };
const record = (sequence: number) => patternRecord(shape, sequence);
const count = 12;

function source(): Source {
  const track = new FrameTrack(false);
  track.put(
    0,
    Array.from({ length: count }, (_, id) => ({ id, text: ` word${id}` })),
    Array.from({ length: count }, (_, i) => (i === 0 ? null : encodeFrame(summaryOf(record(i), 16)))),
  );
  const provenance = { modelName: 'Tiny', modelHash: 'ab', sparsity: 'fast', seed: 1, version: '0.1.0', edits: [] };
  return {
    ...{ id: 'run', kind: 'run', label: 'Analysis', messageId: 'm', track, provenance, surprise: null },
    ...{ tokensPerSecond: 10, kl: null, text: '', records: true },
  };
}

const ok = (value: unknown) => Promise.resolve({ ok: true, value });
const user = userEvent.setup();

beforeEach(() => {
  useStore.setState(initial, true);
  vi.stubGlobal('api', {
    activity: {
      watch: () => ok(null),
      record: ({ index }: { index: number }) => ok(encodeRecord(record(index))),
      neuron: () => ok(Float32Array.from({ length: count }, (_, i) => (i % 3 ? i / 4 : Number.NaN))),
      rates: () =>
        ok({ tokens: 20, ...{ layers: 6, neurons: 96 }, active: Uint32Array.from({ length: 576 }, (_, i) => i % 21) }),
      lens: () => ok({ layers: Array.from({ length: 6 }, () => [{ id: 3, text: ' word3', probability: 0.5 }]) }),
    },
  });
  useStore.setState({ activityOpen: true });
  state().addSource(source());
  render(
    <Tooltip.Provider>
      <main>
        <ActivityPanel />
        <Announcer />
      </main>
    </Tooltip.Provider>,
  );
  act(() => void state().lookAt('run', 3));
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const show = (name: string) => user.click(screen.getByRole('tab', { name }));
const findings = async (): Promise<string[]> => {
  const { violations } = await axe.run(document.body, {
    rules: { 'page-has-heading-one': { enabled: false }, 'color-contrast': { enabled: false } },
  });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
};

describe('the panel', () => {
  it('moves through tokens with the keys of the strip', async () => {
    const strip = screen.getByRole('slider', { name: 'Token' });
    expect(strip.getAttribute('aria-valuetext')).toMatch(/^Token 4 of 12, “␣word3”: .* read of .*, \d+ missed\.$/);
    strip.focus();
    await user.keyboard('{ArrowRight}{ArrowRight}');
    expect(state().token).toBe(5);
    await user.keyboard('{End}');
    expect(strip.getAttribute('aria-valuenow')).toBe('12');
    await user.keyboard('{Home}');
    expect(strip.getAttribute('aria-valuetext')).toContain('made by the prefill');
    expect(screen.getByText('Made by the prefill: no frame')).toBeTruthy();
  });

  it('reads the cell under the cursor, of all rows and columns', async () => {
    const grid = screen.getByRole('grid', { name: /^Layers and blocks of 16 neurons/ });
    expect([grid.getAttribute('aria-rowcount'), grid.getAttribute('aria-colcount')]).toEqual(['6', '6']);
    grid.focus();
    await user.keyboard('{ArrowDown}{ArrowDown}{ArrowRight}');
    const cell = within(grid).getByRole('gridcell');
    expect(cell.textContent).toBe(blockWords(summaryOf(record(3), 16), 2, 1));
    expect(grid.getAttribute('aria-activedescendant')).toBe(cell.id);
    expect(within(grid).getByRole('row').getAttribute('aria-rowindex')).toBe('3');
    await user.keyboard('{Enter}');
    expect(state().look.view).toBe('layer');
  });

  it('takes an edit by words, refuses a wrong one with a sentence', async () => {
    await show('Intervene');
    const place = screen.getByRole('textbox', { name: 'Place' });
    await user.type(place, 'layer 9 neuron 1{Enter}');
    expect(screen.getByRole('alert').textContent).toBe('This model has layers 0 to 5 with neurons 0 to 95.');
    await user.clear(place);
    await user.type(place, 'layer 2 neuron 1{Enter}');
    expect(state().edits).toEqual([{ kind: 'neuron', layer: 2, index: 1, action: 'off', value: 0 }]);
    await user.click(screen.getByRole('button', { name: 'Remove: layer 2 neuron 1 off' }));
    expect(state().edits).toEqual([]);
  });

  it('says of a cell what can be done with it', async () => {
    state().setSpot({ layer: 1, neuron: 20 });
    await user.click(await screen.findByRole('button', { name: 'Switch off' }));
    expect(state().edits[0]).toMatchObject({ kind: 'neuron', layer: 1, index: 20 });
    expect(state().look.view).toBe('intervene');
    expect(document.querySelector('[role=status][aria-live=polite]')!.textContent).toBe(
      'Added: layer 1 neuron 20 off.',
    );
  });

  it('keeps everything else when a view cannot be drawn', async () => {
    const quiet = vi.spyOn(console, 'error').mockImplementation(() => {});
    const broken = { ...source(), id: 'broken' };
    vi.spyOn(broken.track, 'frame').mockImplementation(() => ({}) as never);
    act(() => {
      state().addSource(broken);
      void state().lookAt('broken', 3);
    });
    expect(screen.getByRole('alert').textContent).toContain('This view cannot be drawn');
    expect(screen.getByRole('slider', { name: 'Token' })).toBeTruthy();
    act(() => void state().lookAt('run', 3));
    expect(screen.queryByRole('alert')).toBeNull();
    quiet.mockRestore();
  });

  it('has no axe findings in any view', async () => {
    for (const tab of screen.getAllByRole('tab').map(({ textContent }) => textContent!)) {
      await show(tab);
      await new Promise((resolve) => setTimeout(resolve, 20));
      expect(await findings(), tab).toEqual([]);
    }
  });

  it('shows the layers with precision and recall of audit tokens', async () => {
    await show('Layers');
    expect(screen.getByText('Precision and recall: from 3 audit tokens only.')).toBeTruthy();
    expect(screen.getAllByRole('row')).toHaveLength(7);
  });
});
