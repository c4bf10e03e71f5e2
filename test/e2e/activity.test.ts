import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { defaultSampling } from '../../electron/contract/entities';
import { decodeFrame, decodeRecord, layerValues, type SummaryFrame } from '../../electron/contract/frames';
import { stopPosition } from '../../electron/contract/sparsity';
import { blockGrid, headGrid } from '../../renderer/activity/cells';
import { blockWords, headWords, neuronWords } from '../../renderer/activity/words';
import { layoutOf } from '../../renderer/canvas/grid';
import { coloursOf } from '../../renderer/canvas/palette';
import { capture, goToToken, map, openPanel, panel, runsDone, showView, tokenSlider } from '../helpers/activityPage';
import { allChats, type WithApi } from '../helpers/api';
import { launchApp, root, temporaryHome, type RunningApp } from '../helpers/app';
import { addAxe, findings } from '../helpers/axe';
import { button, followReply, modelReady, notices, replies, send } from '../helpers/chat';
import { answerDialogs } from '../helpers/dialogs';
import { giveScreened, linkStarter } from '../helpers/sparseModel';

const question = 'Explain in two sentences why the sky is blue.';
const sampling = { ...defaultSampling, temperature: 0, seed: 11, maxTokens: 90 };

interface DumpedToken {
  index: number;
  id: number;
  text: string;
  frameBase64: string | null;
  recordBase64: string | null;
}

const fromBase64 = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));
/** The arrays of a frame that do not tell the time, as bits. */
const bits = (frame: SummaryFrame): string[] =>
  [frame.named, frame.computed, frame.active, frame.missed, frame.peak, frame.headFlags, frame.headNorms].map(
    (array) => (array ? Buffer.from(array.buffer, array.byteOffset, array.byteLength).toString('hex') : ''),
  );

/** In this order on one data folder. */
describe('the activation panel', () => {
  const home = temporaryHome();
  const models = path.join(home, 'models');
  const folder = path.join(home, 'files');
  let running: RunningApp;
  let page: Page;
  let dump: DumpedToken[];

  beforeAll(async () => {
    mkdirSync(folder);
    await giveScreened(linkStarter(models));
    running = await launchApp({
      home,
      models,
      hooks: ['dialogs.cjs'],
      settings: {
        defaultModelId: 'sparse',
        defaultSampling: sampling,
        defaultSparsity: { position: stopPosition('fast'), correction: false, speculation: false },
        activityAuditEvery: 4,
        theme: 'light',
      },
    });
    page = running.page;
    await modelReady(page);
    const file = path.join(folder, 'dump.jsonl');
    const options = ['--sparsity', 'fast', '--temperature', '0', '--seed', '11', '-n', '90', '--audit-every', '4'];
    execFileSync(
      process.execPath,
      [path.join(root, 'dist/electron/cli.cjs'), 'run', '-m', 'sparse', ...options, '--activity', file, question],
      { env: { ...process.env, HUNCH_MODELS: models, HUNCH_HOME: home }, stdio: 'ignore' },
    );
    dump = readFileSync(file, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as DumpedToken);
  });
  afterAll(async () => {
    await running?.close();
    rmSync(home, { recursive: true, force: true });
  });

  const replyId = async (): Promise<string> => (await replies(page).last().getAttribute('data-message-id'))!;
  const readout = (): Promise<string> => panel(page).locator('p[data-hover]').first().innerText();

  it('opens with a key, says that there is nothing yet, and follows a reply as it is written', async () => {
    await openPanel(page);
    await panel(page).getByText('No reply yet').waitFor();
    await capture(page, 'Every neuron');
    await send(page, question);
    await followReply(page);
    await expect.poll(() => tokenSlider(page).getAttribute('aria-valuemax')).toBe(String(dump.length));
    // The picture follows up to an eighth of a second later.
    await expect.poll(() => tokenSlider(page).getAttribute('aria-valuenow')).toBe(String(dump.length));
    const text = (await allChats(page))[0]!.messages.at(-1)!.text;
    expect(text).toBe(
      dump
        .map((token) => token.text)
        .join('')
        .replace(/\s+$/, ''),
    );
  });

  it('shows the engine’s own numbers, bit for bit, for 20 tokens', async () => {
    const messageId = await replyId();
    const sampled = Array.from({ length: 20 }, (_, i) => 1 + Math.floor((i * (dump.length - 2)) / 19));
    const kept = await page.evaluate(
      async ({ messageId, sampled }) => {
        const { api } = globalThis as unknown as WithApi;
        const frames: string[] = [];
        for (const from of sampled) {
          const answer = await api.activity.reply({ messageId, from, count: 1 });
          if (!answer.ok) throw new Error(answer.error.message);
          frames.push(btoa(String.fromCharCode(...answer.value.frames[0]!)));
        }
        return frames;
      },
      { messageId, sampled },
    );
    let missed = 0;
    let peak = 0;
    for (const { frameBase64 } of dump) {
      for (const value of frameBase64 ? decodeFrame(fromBase64(frameBase64)).peak : []) peak = Math.max(peak, value);
    }
    await panel(page).getByRole('combobox', { name: 'Show', exact: true }).selectOption('peak');
    await page.emulateMedia({ reducedMotion: 'reduce' }); // else what changes fast fades in
    for (const [at, index] of sampled.entries()) {
      const engine = decodeFrame(fromBase64(dump[index]!.frameBase64!));
      expect(bits(decodeFrame(fromBase64(kept[at]!))), `token ${index}`).toEqual(bits(engine));
      missed += engine.missed?.reduce((a, b) => a + b, 0) ?? 0;

      await goToToken(page, index + 1);
      // What is drawn: the pixel in the middle of every cell.
      await expect
        .poll(() => pixels(page, /^Layers and blocks/, engine.layers.length, engine.blocks), {
          message: `token ${index}`,
          timeout: 5000,
        })
        .toEqual(expectedPixels(blockGrid(engine, 'peak', peak), await canvasSize(page, /^Layers and blocks/)));
      // What is said: the cell under the cursor.
      const cursor = map(page, /^Layers and blocks/);
      expect(await cursor.getByRole('gridcell').textContent()).toBe(blockWords(engine, 0, 0));
    }
    expect(missed).toBeGreaterThan(0);
    await page.emulateMedia({ reducedMotion: 'no-preference' });
  });

  it('has a view of heads, of every neuron and of one layer with the same numbers', async () => {
    const index = 11;
    await goToToken(page, index + 1);
    const engine = decodeFrame(fromBase64(dump[index]!.frameBase64!));
    const record = decodeRecord(fromBase64(dump[index]!.recordBase64!));
    await showView(page, 'Heads');
    const heads = map(page, /^Layers and attention heads/);
    await heads.focus();
    for (const key of ['ArrowDown', 'ArrowDown', 'ArrowRight']) await page.keyboard.press(key);
    expect(await heads.getByRole('gridcell').textContent()).toBe(headWords(engine, 2, 1));
    expect(headGrid(engine, 'state', 1).codes.length).toBe(30 * 9);

    await showView(page, 'One layer');
    const layer = map(page, /^Neurons of layer 2/);
    await layer.focus();
    for (let i = 0; i < 5; i++) await page.keyboard.press('ArrowRight');
    expect(await layer.getByRole('gridcell').textContent()).toBe(neuronWords(record, 2, 5, layerValues(record, 2)[5]!));
    expect(await readout()).toBe(neuronWords(record, 2, 5, layerValues(record, 2)[5]!));
    await panel(page)
      .getByRole('img', { name: new RegExp(`^Histogram of .*: ${record.layers[2]!.active} active`) })
      .waitFor();

    await showView(page, 'Every neuron');
    const all = map(page, /^Every neuron/);
    expect(await all.getByRole('gridcell').textContent()).toBe(neuronWords(record, 2, 5, layerValues(record, 2)[5]!));
  });

  it('follows one neuron over every token', async () => {
    const record = decodeRecord(fromBase64(dump[11]!.recordBase64!));
    const neuron = [...layerValues(record, 2)].findIndex((value) => value > 0);
    await showView(page, 'Over time');
    await panel(page).getByRole('spinbutton', { name: 'layer' }).fill('2');
    await panel(page).getByRole('spinbutton', { name: 'neuron' }).fill(String(neuron));
    await panel(page)
      .getByRole('img', { name: `Value of layer 2, neuron ${neuron} over ${dump.length} tokens` })
      .waitFor();
    const known = dump.filter(
      ({ recordBase64 }) =>
        recordBase64 && !Number.isNaN(layerValues(decodeRecord(fromBase64(recordBase64)), 2)[neuron]!),
    );
    await panel(page).getByText(`known for ${known.length} of ${dump.length} tokens`).waitFor();
  });

  it('has a table of layers whose recall comes from audit tokens, rankings and a raw logit lens', async () => {
    await showView(page, 'Layers');
    await panel(page)
      .getByText(/^Precision and recall: from \d+ audit tokens only\.$/)
      .waitFor();
    const row = panel(page).getByRole('row', { name: /^1 screened/ });
    expect(await row.innerText()).toMatch(/screened\s.*%.*%.*%.*9\/9.*%.*%.*ms.*MB/s);
    await showView(page, 'What stands out');
    await panel(page)
      .getByRole('button', { name: /^Layer \d+ neuron \d+ over every token$/ })
      .first()
      .waitFor();
    await panel(page).getByRole('combobox', { name: 'Neurons' }).selectOption('dead');
    await panel(page)
      .getByText(/neurons were never active in \d+ tokens\.$/)
      .waitFor();
    await showView(page, 'Logit lens');
    const lens = panel(page).getByRole('table', { name: /^Raw logit lens/ });
    await lens.waitFor();
    expect(await lens.getByRole('row').count()).toBe(31);
    // Greedy: the last layer's likeliest token is the one that was drawn.
    const last = lens.getByRole('row').last().getByRole('cell');
    expect(await last.count()).toBe(20);
    expect(await last.first().getAttribute('data-drawn')).toBe('true');
  });

  it('says what is unknown and offers the analysis for a reply written while it was closed', async () => {
    await page.keyboard.press('Control+j');
    await panel(page).waitFor({ state: 'detached' });
    await button(replies(page).last(), 'Regenerate').click();
    await replies(page).last().getByText('2/2').waitFor();
    await page.keyboard.press('Control+j');
    await panel(page).getByRole('tab', { name: 'Neurons', exact: true }).click();
    await panel(page).getByText('Nothing was captured with this reply').waitFor();
    await button(panel(page), 'Analyse this reply').click();
    await map(page, /^Layers and blocks/).waitFor();
    // Same tokens, same place of the slider: the same numbers.
    await goToToken(page, 6);
    const engine = decodeFrame(fromBase64(dump[5]!.frameBase64!));
    expect(
      await map(page, /^Layers and blocks/)
        .getByRole('gridcell')
        .textContent(),
    ).toBe(blockWords(engine, 2, blockOf(engine, await spotNeuron())));
  });
  const spotNeuron = async (): Promise<number> =>
    Number(
      /neuron (\d+)/.exec(
        await panel(page)
          .getByRole('heading', { name: /^Layer 2, neuron/ })
          .innerText(),
      )![1],
    );
  const blockOf = (frame: SummaryFrame, neuron: number): number => Math.floor(neuron / frame.blockSize);

  it('measures what capture costs and says so', async () => {
    // One reply was written with the panel open and one with it closed.
    await panel(page)
      .getByText(/^Slowdown: .* against .* closed, 1 and 1 replies\)$/)
      .waitFor();
  });

  it('writes the prompt at two stops side by side', async () => {
    await showView(page, 'Compare');
    await panel(page).getByRole('combobox', { name: 'A at' }).selectOption('dense');
    await panel(page).getByRole('combobox', { name: 'B at' }).selectOption('exact');
    await button(panel(page), 'A/B: write both').click();
    await panel(page).getByText('B: Written at exact').waitFor();
    await runsDone(page);
    // Exact is dense's text, bit for bit.
    await panel(page)
      .getByText(/^Identical/)
      .waitFor();
    const facts = panel(page).getByRole('table', { name: /Speeds of runs/ });
    expect(await facts.getByRole('row').nth(2).innerText()).toMatch(/exact.*tok\/s\s+0 nats/s);
    for (const name of ['A', 'B', 'B less A']) await panel(page).getByRole('grid', { name, exact: true }).waitFor();
    // One cursor for all three.
    const a = panel(page).getByRole('grid', { name: 'A', exact: true });
    await a.focus();
    await page.keyboard.press('ArrowDown');
    const row = await a.getByRole('row').getAttribute('aria-rowindex');
    for (const name of ['B', 'B less A']) {
      const other = panel(page).getByRole('grid', { name, exact: true });
      expect(await other.getByRole('row').getAttribute('aria-rowindex')).toBe(row);
    }
  });

  it('changes nothing without edits, and the text with some', async () => {
    await showView(page, 'Intervene');
    await button(panel(page), 'Regenerate with no edits').click();
    await panel(page).getByText('Without edits: identical.').waitFor();
    const place = panel(page).getByRole('textbox', { name: 'Place' });
    await place.fill('layer 99 neuron 1');
    await page.keyboard.press('Enter');
    await panel(page).getByText('This model has layers 0 to 29').waitFor();
    for (const head of [0, 1, 2]) {
      await place.fill(`layer 0 head ${head}`);
      await page.keyboard.press('Enter');
    }
    await button(panel(page), 'Regenerate with 3 edits').click();
    await panel(page).getByRole('region', { name: 'Text difference' }).waitFor();
    expect(await panel(page).locator('ins').count()).toBeGreaterThan(0);
    await button(panel(page), 'Compare the activations').click();
    await panel(page)
      .getByText(/ of 2880 blocks differ\.$/)
      .waitFor();
  });

  it('exports five formats and shows a .hunchframes and a .json again', async () => {
    await showView(page, 'Neurons');
    const before = await page.locator('canvas').count();
    expect(before).toBeGreaterThan(0);
    const save = async (item: string, extension: string): Promise<string> => {
      const file = path.join(folder, `out.${extension}`);
      await answerDialogs(running, { file });
      await button(panel(page), 'Export').click();
      await page.getByRole('menuitem', { name: item }).click();
      await expect.poll(() => size(file), { timeout: 20_000 }).toBeGreaterThan(1000);
      return file;
    };
    await goToToken(page, 9);
    const words = await map(page, /^Layers and blocks/)
      .getByRole('gridcell')
      .textContent();
    const png = await save('Picture (PNG, 2×)', 'png');
    expect(readFileSync(png).subarray(1, 4).toString()).toBe('PNG');
    expect(readFileSync(await save('Drawing (SVG)', 'svg'), 'utf8')).toMatch(/^<svg .*model sha256 [0-9a-f]{64}</s);
    expect(readFileSync(await save('Table of all layers and tokens (CSV)', 'csv'), 'utf8')).toContain('token,id,text');
    for (const [item, extension] of [
      ['Everything, readable (JSON)', 'json'],
      ['Everything, compact (.hunchframes)', 'hunchframes'],
    ] as const) {
      const file = await save(item, extension);
      await button(panel(page), 'Import').click();
      const chosen = panel(page).getByRole('combobox', { name: 'Of' });
      await expect
        .poll(() => chosen.locator('option:checked').innerText())
        .toContain(`Imported: ${path.basename(file)}`);
      await goToToken(page, 9);
      expect(
        await map(page, /^Layers and blocks/)
          .getByRole('gridcell')
          .textContent(),
      ).toBe(words);
    }
  });

  it('refuses a damaged file with a sentence and keeps what it shows', async () => {
    const chosen = panel(page).getByRole('combobox', { name: 'Of' });
    const shown = await chosen.locator('option:checked').innerText();
    const file = path.join(folder, 'damaged.hunchframes');
    writeFileSync(file, readFileSync(path.join(folder, 'out.hunchframes')).subarray(0, 5000));
    await answerDialogs(running, { file });
    await button(panel(page), 'Import').click();
    await notices(page).getByText('“damaged.hunchframes” is cut off').waitFor();
    expect(await chosen.locator('option:checked').innerText()).toBe(shown);
  });

  it('keeps frames with the message: they are there after a restart', async () => {
    await running.close();
    running = await launchApp({ home, models, hooks: ['dialogs.cjs'] });
    page = running.page;
    await modelReady(page);
    await page.getByRole('navigation', { name: 'Chats' }).getByRole('button', { name: question, exact: true }).click();
    await button(replies(page).last(), 'Previous version').click();
    await openPanel(page);
    await expect.poll(() => tokenSlider(page).getAttribute('aria-valuemax')).toBe(String(dump.length));
    await goToToken(page, 8);
    const engine = decodeFrame(fromBase64(dump[7]!.frameBase64!));
    expect(
      await map(page, /^Layers and blocks/)
        .getByRole('gridcell')
        .textContent(),
    ).toBe(blockWords(engine, 0, 0));
    await goToToken(page, 1);
    await panel(page).getByText('Made by the prefill: no frame').waitFor();
  });

  it('is worked by the keyboard alone', async () => {
    const focused = (): Promise<string> =>
      page.evaluate(() => {
        const element = document.activeElement as HTMLElement;
        return element.getAttribute('aria-label') ?? element.closest('label')?.textContent ?? element.textContent ?? '';
      });
    const tabTo = async (name: RegExp, key = 'Tab'): Promise<void> => {
      // At most once around the window, wherever the focus was.
      for (let i = 0; i < 60 && !name.test(await focused()); i++) await page.keyboard.press(key);
      expect(await focused()).toMatch(name);
    };
    await page.keyboard.press('Control+j');
    await panel(page).waitFor({ state: 'detached' });
    await expect.poll(focused).toBe('Message');
    await page.keyboard.press('Control+j');
    await expect.poll(focused).toBe('Neurons');
    await page.keyboard.press('ArrowRight');
    await page.keyboard.press('Enter');
    await tabTo(/^Token$/, 'Shift+Tab');
    await page.keyboard.press('Home');
    for (let i = 0; i < 7; i++) await page.keyboard.press('ArrowRight');
    await tabTo(/^Layers and attention heads/);
    await page.keyboard.press('Home');
    await page.keyboard.press('ArrowDown');
    const engine = decodeFrame(fromBase64(dump[7]!.frameBase64!));
    const row =
      Number(
        await map(page, /^Layers and attention/)
          .getByRole('row')
          .getAttribute('aria-rowindex'),
      ) - 1;
    expect(await readout()).toBe(headWords(engine, row, 0));
    await tabTo(/^Switch off$/);
    await page.keyboard.press('Enter');
    await panel(page).getByRole('list', { name: 'Edits' }).getByText(`layer ${row} head 0 off`).waitFor();
    await tabTo(/^Remove: /, 'Shift+Tab');
    await page.keyboard.press('Enter');
    await tabTo(/^Export$/, 'Shift+Tab');
    await page.keyboard.press('Enter');
    await page.getByRole('menuitem', { name: 'Drawing (SVG)' }).waitFor();
    await page.keyboard.press('Escape');
    await showView(page, 'Neurons');
  });

  it('plays nothing where less motion is wanted', async () => {
    await page.emulateMedia({ reducedMotion: 'reduce' });
    await goToToken(page, 4);
    expect(
      await panel(page)
        .getByRole('button', { name: /^Play \(off/ })
        .isDisabled(),
    ).toBe(true);
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    await goToToken(page, 5);
    await button(panel(page), 'Play').click();
    await expect.poll(async () => Number(await tokenSlider(page).getAttribute('aria-valuenow'))).toBeGreaterThan(6);
    await button(panel(page), 'Pause').click();
  });

  it.each(['light', 'dark'] as const)('is accessible in every view, %s', async (theme) => {
    await page.evaluate((theme) => (globalThis as unknown as WithApi).api.settings.set({ theme }), theme);
    await page.locator(`html[data-theme=${theme}]`).waitFor();
    await addAxe(page);
    await goToToken(page, 8);
    const names = await panel(page).getByRole('tab').allInnerTexts();
    expect(names).toHaveLength(11);
    for (const name of names) {
      await showView(page, name);
      await page.waitForTimeout(150);
      expect(await findings(page), name).toEqual([]);
    }
    await showView(page, 'Neurons');
    await panel(page).getByRole('checkbox', { name: 'Table' }).check();
    expect(await findings(page), 'table').toEqual([]);
    const table = panel(page).getByRole('grid', { name: 'Layers and blocks of neurons' });
    expect(await table.getAttribute('aria-rowcount')).toBe('2881');
    expect(await table.getAttribute('aria-colcount')).toBe('8');
    await table.focus();
    await page.keyboard.press('End');
    await table.getByRole('row', { name: /^29 1520–1535/ }).waitFor();
    await panel(page).getByRole('checkbox', { name: 'Table' }).uncheck();
  });
});

function size(file: string): number {
  try {
    return statSync(file).size;
  } catch {
    return 0;
  }
}

const canvasSize = (page: Page, name: RegExp): Promise<[number, number]> =>
  map(page, name)
    .locator('canvas')
    .getAttribute('data-pixels')
    .then((text) => text!.split('x').map(Number) as [number, number]);

/** The pixel in the middle of each cell. */
function pixels(page: Page, name: RegExp, rows: number, columns: number): Promise<number[]> {
  return map(page, name)
    .locator('canvas')
    .evaluate(
      (canvas: HTMLCanvasElement, [rows, columns]) => {
        // A worker draws on it: what it shows can be drawn on another.
        const [width, height] = canvas.dataset.pixels!.split('x').map(Number) as [number, number];
        const copy = Object.assign(document.createElement('canvas'), { width, height }).getContext('2d')!;
        copy.drawImage(canvas, 0, 0);
        const data = new Int32Array(copy.getImageData(0, 0, width, height).data.buffer);
        const found: number[] = [];
        for (let row = 0; row < rows!; row++) {
          for (let column = 0; column < columns!; column++) {
            const [x, y] = [((column + 0.5) * width) / columns!, ((row + 0.5) * height) / rows!];
            found.push(data[Math.floor(y) * width + Math.floor(x)]!);
          }
        }
        return found;
      },
      [rows, columns],
    );
}

function expectedPixels(grid: ReturnType<typeof blockGrid>, [width, height]: [number, number]): number[] {
  const { value } = coloursOf('light', 'viridis');
  const { rows, columns } = grid;
  const layout = layoutOf(grid, width, height, { x: 0, y: 0, columns, rows });
  return Array.from(grid.codes, (code, at) => {
    const x = Math.floor(((at % columns) + 0.5) * (width / columns));
    const y = Math.floor((Math.floor(at / columns) + 0.5) * (height / rows));
    if (layout.columns[x] !== at % columns || layout.rows[y] !== Math.floor(at / columns)) {
      throw new Error('The middle of a cell lies outside it.');
    }
    return value[y & 7]![((x & 7) << 8) | code]!;
  });
}
