// @vitest-environment happy-dom
import { act, cleanup, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Residency } from '../../../electron/contract/devices';
import { stoppedStatus } from '../../../electron/engine/host';
import { costCells, countWords, layersOf, onlyPlace, stackOf, sumOf } from '../../../renderer/activity/residency';
import { placeTile } from '../../../renderer/canvas/places';
import { ResidencyView } from '../../../renderer/components/activity/ResidencyView';
import { useStore } from '../../../renderer/store/store';

const initial = useStore.getState();
const counts = (...values: number[]): Uint32Array => Uint32Array.from(values);
const spread: Residency = {
  ...{ gpu: counts(600, 0), memory: counts(300, 250), disk: counts(100, 750) },
  ...{ gpuBytes: 6e6, memoryBytes: 5.5e6, diskBytes: 8.5e6 },
  ...{ hits: 90, misses: 10, readBytes: 2e6, waitedSeconds: 0.25 },
};
const idle = { hits: 0, misses: 0, readBytes: 0, waitedSeconds: 0 };
const inMemory: Residency = { ...spread, ...idle, gpu: counts(0, 0), memory: counts(1000, 1000), disk: counts(0, 0) };

/** Relative luminance of '#rrggbb' (WCAG 2). */
const luminance = (colour: string): number =>
  [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const share = Number.parseInt(colour.slice(1 + 2 * i, 3 + 2 * i), 16) / 255;
    return sum + weight * (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4);
  }, 0);

describe('where neurons lie', () => {
  it('is counted by layer and in all', () => {
    const layers = layersOf(spread);
    expect(layers).toEqual([
      { gpu: 600, memory: 300, disk: 100 },
      { gpu: 0, memory: 250, disk: 750 },
    ]);
    expect(sumOf(layers)).toEqual({ gpu: 600, memory: 550, disk: 850 });
    expect(onlyPlace(sumOf(layers))).toBeNull();
    expect(onlyPlace(sumOf(layersOf(inMemory)))).toBe('memory');
  });

  it('fills a bar from the GPU to the disk, without parts that are empty', () => {
    expect(stackOf({ gpu: 600, memory: 300, disk: 100 })).toEqual([
      { place: 'gpu', from: 0, share: 0.6 },
      { place: 'memory', from: 0.6, share: 0.3 },
      { place: 'disk', from: expect.closeTo(0.9, 12), share: 0.1 },
    ]);
    expect(stackOf({ gpu: 0, memory: 1, disk: 3 }).map(({ place }) => place)).toEqual(['memory', 'disk']);
    expect(countWords({ gpu: 0, memory: 1250, disk: 3 })).toBe('Main memory 1,250 · Disk 3');
  });

  it('tells the places apart by pattern and by colour, in both themes', () => {
    for (const theme of ['light', 'dark'] as const) {
      const tiles = (['gpu', 'memory', 'disk'] as const).map((place) => placeTile(theme, place));
      expect(new Set(tiles.map(({ fill }) => fill)).size).toBe(3);
      expect(new Set(tiles.map(({ marks }) => marks)).size).toBe(3);
      const page = luminance({ light: '#fdfdfc', dark: '#17181a' }[theme]);
      for (const { fill } of tiles) {
        const [low, high] = [page, luminance(fill)].sort((a, b) => a - b);
        expect((high! + 0.05) / (low! + 0.05)).toBeGreaterThan(3);
      }
    }
  });

  it('says what fetching cost, and no share of nothing', () => {
    expect(costCells(spread)).toEqual(['100', '90 %', '2.0 MB', '250 ms']);
    expect(costCells(idle)).toEqual(['0', '–', '0 B', '0 ms']);
  });
});

describe('the view', () => {
  let answers: (Residency | null)[];
  let looks: number;
  beforeEach(() => {
    vi.useFakeTimers({ shouldAdvanceTime: true });
    answers = [spread];
    looks = 0;
    useStore.setState(initial, true);
    useStore.setState({ engine: { ...stoppedStatus, state: 'ready', modelId: 'm' } });
    vi.stubGlobal('api', {
      activity: {
        residency: () => {
          const value = answers[Math.min(looks, answers.length - 1)];
          looks++;
          return Promise.resolve({ ok: true, value });
        },
      },
    });
  });
  afterEach(() => {
    cleanup();
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });
  const show = async (): Promise<void> => {
    render(
      <main>
        <ResidencyView />
      </main>,
    );
    await act(() => vi.advanceTimersByTimeAsync(0));
  };
  const write = (on: boolean): Promise<void> =>
    act(async () => {
      useStore.setState({ live: on ? { r: { chatId: 'c' } as never } : {} });
      await vi.advanceTimersByTimeAsync(0);
    });
  const pass = (ms: number): Promise<unknown> => act(() => vi.advanceTimersByTimeAsync(ms));
  const findings = async (): Promise<string[]> => {
    vi.useRealTimers();
    const { violations } = await axe.run(document.body, {
      rules: { 'page-has-heading-one': { enabled: false }, 'color-contrast': { enabled: false } },
    });
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  };

  it('draws a bar for each layer, whose words say the same', async () => {
    await show();
    const chart = screen.getByRole('img', {
      name: /^Where neurons lie, 2 layers\. GPU 600 · Main memory 550 · Disk 850\.$/,
    });
    const bars = [...chart.querySelectorAll('g')].map((group) =>
      [...group.querySelectorAll('rect')].map((rect) => [rect.getAttribute('x'), rect.getAttribute('width')]),
    );
    expect(bars).toEqual([
      [
        ['0%', '60%'],
        ['60%', '30%'],
        [expect.stringMatching(/^(90|89\.9+)%$/), '10%'],
      ],
      [
        ['0%', '25%'],
        ['25%', '75%'],
      ],
    ]);
    const places = within(screen.getByRole('list', { name: 'Places' })).getAllByRole('listitem');
    expect(places.map(({ textContent }) => textContent)).toEqual([
      'GPU: 600 neurons (30 %), 6.0 MB',
      'Main memory: 550 neurons (28 %), 5.5 MB',
      'Disk: 850 neurons (43 %), 8.5 MB',
    ]);
    expect(await findings()).toEqual([]);
  });

  it('gives the same numbers as a table', async () => {
    await show();
    vi.useRealTimers();
    await userEvent.setup().click(screen.getByRole('checkbox', { name: 'Table' }));
    const table = screen.getByRole('table', { name: 'Where each layer’s neurons lie' });
    expect(
      within(table)
        .getAllByRole('row')
        .map((row) => row.textContent),
    ).toEqual(['LayerGPUMain memoryDisk', '0600300100', '10250750']);
    expect(screen.queryByRole('img')).toBeNull();
    expect(await findings()).toEqual([]);
  });

  it('says in one line that everything is in memory, or on the GPU', async () => {
    answers = [inMemory];
    await show();
    screen.getByText(
      'All neurons of all 2 layers lie in main memory: 5.5 MB of weights, and nothing is read from the disk.',
    );
    expect(screen.queryByRole('img')).toBeNull();
    cleanup();
    answers = [{ ...inMemory, gpu: counts(5, 5), memory: counts(0, 0) }];
    useStore.setState({ engine: { ...stoppedStatus, state: 'ready', modelId: 'm', device: 'NVIDIA H100' } });
    await show();
    screen.getByText(/^All neurons of all 2 layers lie on the GPU \(NVIDIA H100\): 6\.0 MB of weights/);
  });

  it('looks once, then twice a second while a reply is written, once more at its end, and never when closed', async () => {
    await show();
    await pass(5000);
    expect(looks).toBe(1);
    await write(true);
    expect(looks).toBe(2);
    await pass(2000);
    expect(looks).toBe(6);
    await write(false);
    expect(looks).toBe(7);
    await pass(5000);
    expect(looks).toBe(7);
    await write(true);
    cleanup();
    const before = looks;
    await pass(5000);
    expect(looks).toBe(before);
  });

  it('adds up what the looks cost, until another model is loaded', async () => {
    answers = [spread, { ...spread, ...idle, hits: 10 }, spread];
    await show();
    await write(true);
    const lines = (): string[] =>
      within(screen.getByRole('table', { name: 'What fetching neurons cost' }))
        .getAllByRole('row')
        .slice(1)
        .map((row) => row.textContent ?? '');
    expect(lines()).toEqual(['Since the last look10100 %0 B0 ms', 'Since this view was opened10100 %0 B0 ms']);
    await write(false);
    expect(lines()[1]).toBe('Since this view was opened11091 %2.0 MB250 ms');
    await act(async () => {
      useStore.setState({ engine: { ...stoppedStatus, state: 'ready', modelId: 'other' } });
      await vi.advanceTimersByTimeAsync(0);
    });
    expect(lines()[1]).toBe('Since this view was opened0–0 B0 ms');
  });

  it('looks less often where less motion is wished for', async () => {
    vi.stubGlobal('matchMedia', (query: string) => ({
      matches: query.includes('reduce'),
      addEventListener: () => {},
      removeEventListener: () => {},
    }));
    await show();
    await write(true);
    await pass(2000);
    expect(looks).toBe(4);
  });

  it('says when no model is loaded', async () => {
    answers = [null];
    await show();
    screen.getByText('No model is loaded.');
  });
});
