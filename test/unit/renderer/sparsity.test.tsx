// @vitest-environment happy-dom
import { act, cleanup, fireEvent, render, screen, waitFor, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import axe from 'axe-core';
import { Tooltip } from 'radix-ui';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { Chat } from '../../../electron/contract/entities';
import { defaultSampling } from '../../../electron/contract/entities';
import type { FrontierPoint, SparsityState, StopName } from '../../../electron/contract/sparsity';
import { defaultSparsity } from '../../../electron/contract/sparsity';
import { Announcer } from '../../../renderer/components/Announcer';
import { PanelSection } from '../../../renderer/components/PanelSection';
import { SparsityReadout } from '../../../renderer/components/SparsityReadout';
import { SparsitySettings } from '../../../renderer/components/SparsitySettings';
import { useStore } from '../../../renderer/store/store';

const initial = useStore.getState();
const chat: Chat = {
  id: '0b7e4a0e-3c1b-4a53-9d6a-5e1f0d3c2b01',
  title: 'Snow',
  createdAt: 1,
  updatedAt: 1,
  systemPrompt: '',
  sampling: defaultSampling,
  sparsity: { position: 0.6, correction: false, speculation: false },
  modelId: null,
  leafId: null,
};
const point = (stop: StopName, speedup: number, perplexityRatio: number): FrontierPoint => ({
  stop,
  speedup,
  perplexityRatio,
  tokensPerSecond: 300 * speedup,
  kl: 0.0041,
  agreement: 0.971,
  density: 0.22,
  bytesPerToken: 48e6,
});
const bare: SparsityState = {
  modelId: 'm',
  stops: ['dense'],
  frontier: [],
  measured: null,
  calibration: null,
  problem: null,
};
const measured: SparsityState = {
  ...bare,
  stops: ['dense', 'exact', 'balanced', 'fast'],
  frontier: [point('dense', 1, 1), point('exact', 1.4, 1), point('balanced', 1.62, 1.008), point('fast', 1.8, 1.029)],
  measured: { date: '2026-11-24T10:00:00.000Z', machine: 'Test CPU', text: 'held-out text', tokens: 2048 },
};

let configure: ReturnType<typeof vi.fn>;
const state = () => useStore.getState();
const ok = (value: unknown) => Promise.resolve({ ok: true, value });
const user = userEvent.setup();

function show(sparsity: SparsityState): void {
  useStore.setState({ sparsity });
  render(
    <Tooltip.Provider>
      <main>
        <PanelSection title="Sparsity">
          <SparsitySettings />
        </PanelSection>
        <SparsityReadout />
        <Announcer />
      </main>
    </Tooltip.Provider>,
  );
}
const slider = (): HTMLElement => screen.getByRole('slider', { name: 'Sparsity' });
/** Under the slider. */
const stopName = (name: string): HTMLElement => screen.getByText(name, { selector: 'span[data-missing]' });
const position = (): number | undefined => state().chats[chat.id]?.sparsity.position;
const findings = async (): Promise<string[]> => {
  const { violations } = await axe.run(document.body, { rules: { 'page-has-heading-one': { enabled: false } } });
  return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
};

beforeEach(() => {
  useStore.setState(initial, true);
  useStore.setState({ activeId: chat.id, chats: { [chat.id]: chat } });
  configure = vi.fn(() => ok(chat));
  vi.stubGlobal('api', { chats: { configure } });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

describe('the slider', () => {
  it('says where it stands and what that gives', () => {
    show(measured);
    expect(slider().getAttribute('aria-valuenow')).toBe('0.6');
    expect(slider().getAttribute('aria-valuetext')).toBe('balanced: 1.6 times dense speed, 0.8 % more perplexity');
    expect(screen.getByRole('button', { name: /^Sparsity: balanced\s*1\.62×$/ })).toBeTruthy();
  });

  it('moves with the keyboard alone', async () => {
    show(measured);
    slider().focus();
    const presses: [string, number][] = [
      ['{ArrowRight}', 0.62],
      ['{ArrowLeft}', 0.6],
      ['{PageUp}', 0.8],
      ['{PageUp}', 0.8],
      ['{PageDown}', 0.6],
      ['{PageDown}', 0.2],
      ['{Home}', 0],
      ['{ArrowUp}', 0.02],
      ['{End}', 1],
      ['{ArrowDown}', 0.98],
    ];
    for (const [key, expected] of presses) {
      await user.keyboard(key);
      expect(position(), key).toBe(expected);
    }
    expect(document.activeElement).toBe(slider());
  });

  it('says which stops the model lacks, and why', () => {
    show(measured);
    const described = document.getElementById(slider().getAttribute('aria-describedby')!)!.textContent!;
    expect(described).toContain('no careful stop');
    expect(described).toContain('no fastest stop');
    expect(described).not.toContain('no exact stop');
    expect(stopName('careful').dataset.missing).toBe('true');
    expect(stopName('fast').dataset.missing).toBe('false');
  });

  it('goes to a stop whose name is clicked', async () => {
    show(measured);
    fireEvent.click(stopName('exact'));
    expect(position()).toBe(0.2);
  });

  it('takes the focus from the read-out in the composer', async () => {
    show(measured);
    useStore.setState({ settings: { panelOpen: true } as never });
    await user.click(screen.getByRole('button', { name: /^Sparsity: / }));
    expect(document.activeElement).toBe(slider());
    expect(state().focusWish.target).toBeNull();
  });
});

describe('the figures', () => {
  const figures = (): Record<string, string> =>
    Object.fromEntries(
      [...document.querySelectorAll('dl > div')].map((row) => [
        row.querySelector('dt')!.textContent!,
        row.querySelector('dd')!.textContent!.replace(/\s+/g, ' '),
      ]),
    );

  it('are those measured at a stop', () => {
    show(measured);
    expect(figures()).toEqual({
      Speed: '486 tok/s',
      'Against dense': '1.62×',
      Perplexity: '+0.8 %',
      KL: '0.0041',
      Agreement: '97.1 %',
      Density: '22.0 %',
      'Read per token': '48 MB',
    });
    expect(screen.queryByText(/Estimated/)).toBeNull();
  });

  it('are marked as estimates between two stops', () => {
    show(measured);
    fireEvent.keyDown(slider(), { key: 'ArrowRight' });
    expect(figures().Speed).toMatch(/^≈ 4\d\d tok\/s$/);
    expect(Object.values(figures()).every((value) => value.startsWith('≈'))).toBe(true);
    expect(screen.getByText('Estimated (≈) between balanced and fast.')).toBeTruthy();
  });

  it('stand in a table for those who do not see the curve', () => {
    show(measured);
    const table = screen.getByRole('table', { name: 'Measured stops of this model' });
    const rows = within(table).getAllByRole('row');
    expect(rows.map((row) => row.firstChild!.textContent)).toEqual(['Stop', 'dense', 'exact', 'balanced', 'fast']);
    expect(rows[3]!.textContent).toContain('486 tok/s1.62×+0.8 %0.0041 nats a token97.1 %22.0 %48 MB');
  });

  it('say when and on what they were measured', () => {
    show(measured);
    expect(screen.getByText('Measured on Nov 24, 2026 on 2,048 tokens of held-out text (Test CPU).')).toBeTruthy();
  });
});

describe('measuring', () => {
  it('is offered with an honest sentence where nothing was measured', async () => {
    let finish: (value: unknown) => void = () => {};
    const calibrate = vi.fn(() => new Promise((resolve) => (finish = resolve)));
    const cancelCalibration = vi.fn(() => ok(null));
    vi.stubGlobal('api', { sparsity: { calibrate, cancelCalibration } });
    show(bare);
    expect(screen.getByText(/is not measured on this computer yet/)).toBeTruthy();
    expect(document.querySelector('dl, svg[data-model]')).toBeNull();
    await user.click(screen.getByRole('button', { name: 'Measure this model' }));
    expect(calibrate).toHaveBeenCalledTimes(1);

    const going = { phase: 'training', fraction: 0.42, detail: 'Layer 12 of 30.' } as const;
    state().receiveSparsity({ ...bare, calibration: going });
    await screen.findByText('Training predictors, 42 %');
    expect(screen.getByText('Layer 12 of 30.')).toBeTruthy();
    expect(screen.getByRole('progressbar', { name: 'Measuring the model' }).getAttribute('aria-valuenow')).toBe('42');
    expect(screen.getByRole('status').textContent).toBe('Training predictors.');
    await user.click(screen.getByRole('button', { name: 'Cancel' }));
    expect(cancelCalibration).toHaveBeenCalledTimes(1);

    finish({ ok: true, value: measured });
    await waitFor(() => expect(screen.getByRole('status').textContent).toBe('The model is measured.'));
    expect(screen.getByRole('button', { name: 'Measure again' })).toBeTruthy();
  });

  it('announces a phase once, and a failure as a notice', async () => {
    vi.stubGlobal('api', {
      sparsity: {
        calibrate: () => Promise.resolve({ ok: false, error: { code: 'disk-full', message: 'The disk is full.' } }),
      },
    });
    show(bare);
    const before = state().announcement.n;
    for (const fraction of [0.1, 0.2, 0.3]) {
      state().receiveSparsity({ ...bare, calibration: { phase: 'capture', fraction, detail: '' } });
    }
    expect(state().announcement.n).toBe(before + 1);
    await state().calibrate();
    expect(state().notices.map(({ text }) => text)).toEqual(['The disk is full.']);
  });

  it('shows why a pack is not used', () => {
    show({ ...bare, problem: 'pack.json is of another model.' });
    expect(screen.getByText('pack.json is of another model.')).toBeTruthy();
  });
});

describe('the toggles', () => {
  it('change the chat', async () => {
    show(measured);
    await user.click(screen.getByRole('switch', { name: 'Dense correction' }));
    await user.click(screen.getByRole('switch', { name: 'Speculation (same text as dense)' }));
    expect(state().chats[chat.id]!.sparsity).toEqual({ position: 0.6, correction: true, speculation: true });
  });

  it('say where they change nothing, and that the figures are without them', async () => {
    show(measured);
    const hint = (name: string): string => {
      const id = screen.getByRole('switch', { name }).getAttribute('aria-describedby')!;
      return document.getElementById(id)!.textContent!;
    };
    await user.click(screen.getByRole('switch', { name: 'Dense correction' }));
    expect(hint('Dense correction')).toContain('Idle: the keys and values are dense here anyway.');
    act(() => {
      const [last] = measured.frontier.slice(-1);
      const corrected = { tokensPerSecond: 500, speedup: 1.1, perplexityRatio: 1.004 };
      useStore.setState({
        sparsity: { ...measured, frontier: [...measured.frontier.slice(0, -1), { ...last!, corrected }] },
      });
    });
    fireEvent.keyDown(slider(), { key: 'End' });
    expect(hint('Dense correction')).toMatch(
      /At fast: 1\.10× dense instead of [\d.]+×, perplexity \+0\.4 % instead of/,
    );
    fireEvent.keyDown(slider(), { key: 'Home' });
    expect(hint('Dense correction')).toContain('Idle: nothing is lost here.');
    expect(hint('Speculation (same text as dense)')).not.toContain('without it');
    await user.click(screen.getByRole('switch', { name: 'Speculation (same text as dense)' }));
    expect(hint('Speculation (same text as dense)')).toContain('The figures above are without it.');
  });
});

describe('accessibility', () => {
  const calibration = { phase: 'audit', fraction: 0.9, detail: 'Nearly done.' } as const;
  const going = { ...bare, calibration, problem: 'A problem.' };
  it.each(Object.entries({ measured, bare, going, unloaded: { ...bare, modelId: null } }))(
    'has no findings: %s',
    async (_name, shown) => {
      show(shown);
      expect(await findings()).toEqual([]);
    },
  );
});

describe('the slice', () => {
  const at = (position: number) => ({ ...chat.sparsity, position });
  beforeEach(async () => {
    await state().flushSparsity(); // what the tests before left under way
    vi.useFakeTimers();
    configure.mockClear();
  });
  afterEach(() => {
    vi.runAllTimers();
    vi.useRealTimers();
  });

  it('shows a move at once and sends at most twenty a second, always the last', () => {
    for (let i = 0; i <= 100; i++) {
      state().setSparsity({ position: i / 100 });
      expect(position()).toBe(i / 100);
      vi.advanceTimersByTime(10);
    }
    vi.advanceTimersByTime(100);
    expect(configure.mock.calls.length).toBeLessThanOrEqual(22);
    expect(configure.mock.calls.length).toBeGreaterThanOrEqual(18);
    expect(configure.mock.calls[0]).toEqual([{ chatId: chat.id, sparsity: at(0) }]);
    expect(configure.mock.calls.at(-1)).toEqual([{ chatId: chat.id, sparsity: at(1) }]);
  });

  it('sends what waits before a reply is asked for', () => {
    state().setSparsity({ position: 0.1 });
    state().setSparsity({ position: 0.3 });
    void state().flushConfigure();
    expect(configure.mock.calls.at(-1)).toEqual([{ chatId: chat.id, sparsity: at(0.3) }]);
    vi.advanceTimersByTime(1000);
    expect(configure).toHaveBeenCalledTimes(2);
  });

  it('keeps the moves of two chats apart', () => {
    const other = { ...chat, id: '0b7e4a0e-3c1b-4a53-9d6a-5e1f0d3c2b02' };
    state().setSparsity({ position: 0.1 });
    state().setSparsity({ position: 0.3 });
    useStore.setState((s) => ({ activeId: other.id, chats: { ...s.chats, [other.id]: other } }));
    state().setSparsity({ position: 0.9 });
    vi.advanceTimersByTime(1000);
    expect(configure.mock.calls.map(([{ chatId, sparsity }]) => [chatId, sparsity.position])).toEqual([
      [chat.id, 0.1],
      [chat.id, 0.3],
      [other.id, 0.9],
    ]);
  });

  it('keeps a move in a chat that does not exist yet', () => {
    useStore.setState({ activeId: null });
    state().setSparsity({ position: 0.8 });
    expect(state().newChatConfig.sparsity).toEqual({ ...defaultSparsity, position: 0.8 });
    expect(configure).not.toHaveBeenCalled();
  });

  it('tells when a move could not be saved', async () => {
    configure.mockImplementation(() => Promise.resolve({ ok: false, error: { code: 'disk-full', message: 'Full.' } }));
    state().setSparsity({ position: 0.1 });
    await vi.advanceTimersByTimeAsync(10);
    expect(state().notices.map(({ text }) => text)).toEqual(['Full.']);
  });
});
