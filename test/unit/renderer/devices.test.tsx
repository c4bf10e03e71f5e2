// @vitest-environment happy-dom
import { act, cleanup, render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import { Tooltip } from 'radix-ui';
import type { ReactNode } from 'react';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { GpuReport } from '../../../electron/contract/devices';
import type { EngineStatus, Message, Settings } from '../../../electron/contract/entities';
import { stoppedStatus } from '../../../electron/engine/host';
import { defaultSettings } from '../../../electron/settings';
import { EngineBanner } from '../../../renderer/components/EngineBanner';
import { ModelPicker } from '../../../renderer/components/ModelPicker';
import { ModelReadiness } from '../../../renderer/components/ModelReadiness';
import { Notices } from '../../../renderer/components/Notices';
import { PerformanceSettings } from '../../../renderer/components/PerformanceSettings';
import { ReplyNotice } from '../../../renderer/components/ReplyNotice';
import { deviceWords } from '../../../renderer/lib/deviceWords';
import { gpuRemedies } from '../../../renderer/lib/gpuRemedies';
import { useStore } from '../../../renderer/store/store';

const initial = useStore.getState();
const state = () => useStore.getState();
const user = userEvent.setup();
const ok = (value: unknown) => Promise.resolve({ ok: true, value });

const report: GpuReport = {
  built: true,
  driver: '13.0',
  gpus: [
    { name: 'NVIDIA H100', memory: 80e9, capability: 9, usable: true, problem: '' },
    { name: 'GTX 1080', memory: 8e9, capability: 6.1, usable: false, problem: 'It is too old.' },
  ],
  problem: '',
};
const ready: EngineStatus = {
  ...stoppedStatus,
  state: 'ready',
  modelId: 'm',
  modelName: 'Tiny',
  threads: 2,
  isa: 'avx2',
};
const onGpu: EngineStatus = { ...ready, device: 'NVIDIA H100' };
const failed = (code: string): EngineStatus => ({
  ...stoppedStatus,
  modelId: 'm',
  modelName: 'Tiny',
  error: { code, message: 'The GPU has no memory left.' },
});

/** What was saved, in order, and what was asked of replies. */
let saved: Partial<Settings>[];
let asked: [string, unknown][];
let found: GpuReport;

beforeEach(() => {
  saved = [];
  asked = [];
  found = report;
  useStore.setState(initial, true);
  useStore.setState({ settings: { ...defaultSettings, device: 'cuda' }, models: [], engine: ready });
  const verb = (name: string) => (input: unknown) => {
    asked.push([name, input]);
    return new Promise(() => {});
  };
  vi.stubGlobal('api', {
    settings: {
      set: (patch: Partial<Settings>) => {
        saved.push(patch);
        return ok({ ...state().settings, ...patch });
      },
    },
    engine: { gpus: () => ok(found) },
    reply: { continue: verb('continue'), regenerate: verb('regenerate') },
  });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const show = (body: ReactNode): void =>
  void render(
    <Tooltip.Provider>
      <main>
        {body}
        <Notices />
      </main>
    </Tooltip.Provider>,
  );
const click = (name: string) => user.click(screen.getByRole('button', { name }));
const findings = async (): Promise<string[]> => {
  const { violations } = await axe.run(document.body, {
    rules: { 'page-has-heading-one': { enabled: false }, 'color-contrast': { enabled: false } },
  });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
};

describe('words', () => {
  it('name what a loaded model runs on', () => {
    expect(deviceWords(ready)).toBe('CPU, 2 threads');
    expect(deviceWords({ ...ready, threads: 1 })).toBe('CPU, 1 thread');
    expect(deviceWords(onGpu)).toBe('NVIDIA H100');
    expect(deviceWords({ ...onGpu, state: 'loading' })).toBeNull();
    expect(deviceWords(null)).toBeNull();
  });
});

describe('what is offered with an error', () => {
  const auto = { device: 'auto' } as const;
  const cuda = { device: 'cuda' } as const;
  it.each([
    ['gpu-failed', onGpu, auto, ['cpu']],
    ['gpu-unavailable', ready, cuda, ['cpu']],
    ['out-of-memory', onGpu, auto, ['cpu', 'less']],
    ['out-of-memory', stoppedStatus, cuda, ['cpu', 'less']],
    ['out-of-memory', ready, auto, []], // main memory
    ['gpu-failed', ready, { device: 'cpu' } as const, []], // an old message; the CPU is chosen already
    ['model-missing', onGpu, cuda, []],
    [undefined, onGpu, cuda, []],
  ] as const)('%s', (code, engine, settings, remedies) => {
    expect(gpuRemedies(code, engine, settings)).toEqual(remedies);
    expect(gpuRemedies(code, engine, null)).toEqual([]);
  });
});

describe('a load that failed on the GPU', () => {
  it('offers the CPU and half of the card’s memory above the chat', async () => {
    act(() => useStore.setState({ engine: failed('out-of-memory') }));
    show(<EngineBanner />);
    screen.getByText('The GPU has no memory left.');
    await click('Use less GPU memory');
    // Of the largest GPU that can be used.
    await waitFor(() => expect(saved).toEqual([{ gpuBudgetMb: Math.floor(Math.floor(80e9 / 2 ** 20) / 2) }]));
    await click('Use less GPU memory');
    await waitFor(() => expect(saved[1]).toEqual({ gpuBudgetMb: Math.floor(saved[0]!.gpuBudgetMb! / 2) }));
    await click('Run on the CPU');
    await waitFor(() => expect(saved[2]).toEqual({ device: 'cpu' }));
    await screen.findByText('Models now run on the CPU.');
    expect(screen.queryByRole('button', { name: 'Run on the CPU' })).toBeNull();
    expect(await findings()).toEqual([]);
  });

  it('offers no smaller part where no GPU can be used', async () => {
    found = { built: true, driver: '', gpus: [], problem: 'There is no driver.' };
    act(() => useStore.setState({ engine: failed('out-of-memory') }));
    show(<EngineBanner />);
    await click('Use less GPU memory');
    await screen.findByText('There is no driver.');
    expect(saved).toEqual([]);
  });

  it('offers the CPU in the empty chat', async () => {
    act(() => useStore.setState({ engine: failed('gpu-unavailable') }));
    show(<ModelReadiness />);
    await click('Run on the CPU');
    await waitFor(() => expect(saved).toEqual([{ device: 'cpu' }]));
  });
});

describe('a reply that the GPU broke off', () => {
  const message = (status: Message['status'], code: string): Message => ({
    ...{ id: 'r', chatId: 'c', parentId: 'q', role: 'assistant', text: 'Half of', status, createdAt: 1 },
    ...{ error: { code, message: 'The GPU failed.' }, stats: null, provenance: null, siblings: ['r'] },
  });
  const shown = (one: Message): void => {
    useStore.setState({ messages: { r: one } });
    show(<ReplyNotice message={one} />);
  };

  it('goes on on the CPU in the same message', async () => {
    shown(message('interrupted', 'gpu-failed'));
    screen.getByText('The GPU failed.');
    await click('Go on on the CPU');
    await waitFor(() => expect(asked).toEqual([['continue', { chatId: 'c', messageId: 'r' }]]));
    expect(saved).toEqual([{ device: 'cpu' }]);
    expect(await findings()).toEqual([]);
  });

  it('goes on with a smaller part on the GPU', async () => {
    act(() => useStore.setState({ engine: onGpu, settings: { ...defaultSettings, gpuBudgetMb: 301 } }));
    shown(message('interrupted', 'out-of-memory'));
    await click('Go on with less GPU memory');
    await waitFor(() => expect(asked).toEqual([['continue', { chatId: 'c', messageId: 'r' }]]));
    expect(saved).toEqual([{ gpuBudgetMb: 150 }]);
  });

  it('without a word of text is written anew', async () => {
    shown(message('failed', 'gpu-unavailable'));
    await click('Go on on the CPU');
    await waitFor(() => expect(asked).toEqual([['regenerate', { chatId: 'c', messageId: 'r' }]]));
  });

  it('stays as it is when the setting cannot be saved', async () => {
    vi.stubGlobal('api', {
      settings: {
        set: () => Promise.resolve({ ok: false, error: { code: 'disk-full', message: 'The disk is full.' } }),
      },
    });
    shown(message('interrupted', 'gpu-failed'));
    await click('Go on on the CPU');
    await screen.findByText('The disk is full.');
    expect(asked).toEqual([]);
  });
});

describe('a notice', () => {
  it('offers the CPU when a chosen model cannot be loaded on the GPU', async () => {
    const { HunchError } = await import('../../../electron/contract/errors');
    show(null);
    act(() => state().report(new HunchError('gpu-unavailable', 'No driver.')));
    await click('Run on the CPU');
    await waitFor(() => expect(saved).toEqual([{ device: 'cpu' }]));
  });
});

describe('the model’s state', () => {
  it('names the device, and says why Automatic took the CPU', async () => {
    act(() => useStore.setState({ engine: { ...ready, deviceNote: 'The driver is too old.' } }));
    show(<ModelPicker />);
    const trigger = screen.getByRole('button', { name: /^Model: Tiny\s+on\s+CPU, 2 threads\s*, ready$/ });
    expect(screen.queryByText('The driver is too old.')).toBeNull();
    await user.click(trigger);
    await screen.findByText('The driver is too old.');
    await click('Settings');
    expect(state()).toMatchObject({ settingsOpen: true, settingsTab: 'performance', modelPickerOpen: false });
  });

  it('says nothing where there is nothing worth telling', async () => {
    show(<ModelPicker />);
    await user.click(screen.getByRole('button', { name: /^Model: Tiny/ }));
    await screen.findByRole('list', { name: 'Models' });
    expect(screen.queryByRole('button', { name: 'Settings' })).toBeNull();
  });

  it('is told in the empty chat, too', () => {
    act(() => useStore.setState({ engine: { ...onGpu, contextLength: 4096 } }));
    show(<ModelReadiness />);
    screen.getByText('NVIDIA H100 · 4,096 tokens of context');
  });
});

describe('the settings', () => {
  it('show the GPUs with their memory, the driver, and why one cannot be used', async () => {
    act(() => useStore.setState({ engine: onGpu }));
    show(<PerformanceSettings />);
    screen.getByText('Now on: NVIDIA H100');
    await screen.findByText('NVIDIA H100: 80 GB, compute capability 9.0');
    screen.getByText(/^GTX 1080: 8\.0 GB, compute capability 6\.1/);
    screen.getByText('It is too old.');
    screen.getByText('NVIDIA’s driver for CUDA 13.0');
    expect(await findings()).toEqual([]);
  });

  it('give a reason once: beside its GPU, or as what went wrong', async () => {
    act(() =>
      useStore.setState({ engine: { ...ready, deviceNote: 'No GPU can be used. It is too old. Run on the CPU.' } }),
    );
    show(<PerformanceSettings />);
    await screen.findByText('It is too old.');
    expect(screen.queryByText(/^No GPU can be used/)).toBeNull();
    cleanup();
    found = { built: true, driver: '', gpus: [], problem: 'There is no driver.' };
    const error = { code: 'gpu-unavailable', message: 'There is no driver. Run on the CPU.' };
    act(() => useStore.setState({ gpus: null, engine: { ...stoppedStatus, modelId: 'm', error } }));
    show(<PerformanceSettings />);
    await waitFor(() => expect(screen.queryByText('Looking for GPUs…')).toBeNull());
    expect(screen.getAllByText(/There is no driver/)).toHaveLength(1);
  });

  it('save the choice, numbers, and empty fields', async () => {
    show(<PerformanceSettings />);
    await user.click(screen.getByRole('radio', { name: 'Automatic' }));
    const memory = screen.getByRole('textbox', { name: 'Main memory for the model (MB)' });
    await user.type(memory, '512{Enter}');
    await waitFor(() => expect(saved).toEqual([{ device: 'auto' }, { memoryBudgetMb: 512 }]));
    await user.clear(memory);
    await user.tab();
    await waitFor(() => expect(saved[2]).toEqual({ memoryBudgetMb: null }));
    await user.click(memory);
    await user.tab();
    expect(saved).toHaveLength(3);
    // A field that may not be empty gets its value back.
    const threads = screen.getByRole('textbox', { name: 'Threads' });
    await user.clear(threads);
    await user.tab();
    expect((threads as HTMLInputElement).value).toBe('0');
    expect(saved).toHaveLength(3);
  });
});
