import { describe, expect, it } from 'vitest';
import { layerValues, neuronState, stateOf } from '../../../electron/contract/frames';
import {
  blockGrid,
  blockValue,
  headGrid,
  layerGrid,
  layerPeak,
  modelGrid,
  wrapColumns,
} from '../../../renderer/activity/cells';
import { blockDifference, differenceGrid } from '../../../renderer/activity/difference';
import {
  blockCode,
  firstLevel,
  headCode,
  level,
  neuronCode,
  signedLevel,
  state,
  stateWords,
} from '../../../renderer/activity/states';
import { coloursOf, packed, stateStyle } from '../../../renderer/canvas/palette';
import { patternRecord, summaryOf } from '../../helpers/frames';

const shape = { layers: 5, neurons: 101, heads: 4 };
const record = patternRecord(shape, 3); // an audit token
const frame = summaryOf(record, 16);

describe('the state of a neuron', () => {
  const { named, computed, active, missed } = neuronState;
  it.each([
    [named | computed | active, 'predicted', state.namedActive],
    [named | computed, 'predicted', state.namedIdle],
    [named, 'screened', state.namedIdle],
    [computed | active, 'dense', state.plainActive],
    [computed, 'dense', state.plainIdle],
    [0, 'predicted', state.skipped],
    [0, 'exact', state.shut],
    [missed, 'predicted', state.missed],
  ] as const)('bits %i on the %s route', (bits, route, code) => {
    expect(neuronCode(bits, { route })).toBe(code);
    expect(stateWords[code]).toBeTruthy();
  });

  it('of a head and of a block', () => {
    expect([0, 1, 2, 3].map(headCode)).toEqual([state.skipped, state.namedIdle, state.plainActive, state.namedActive]);
    const none = { named: 0, computed: 0, active: 0, missed: 0 };
    expect(blockCode(none, { route: 'predicted' })).toBe(state.skipped);
    expect(blockCode({ ...none, named: 2, computed: 2, active: 1, missed: 1 }, { route: 'predicted' })).toBe(
      state.missed,
    );
    expect(blockCode({ ...none, computed: 3, active: 1 }, { route: 'dense' })).toBe(state.plainActive);
  });

  it.each(['light', 'dark'] as const)('has a look of its own, in pattern as well as in colour (%s)', (theme) => {
    const codes = Object.values(state).filter((code) => code !== state.none);
    const fills = new Set(codes.map((code) => stateStyle(theme, code).fill));
    const patterns = new Set(codes.map((code) => stateStyle(theme, code).pattern.join()));
    expect(fills.size).toBe(codes.length);
    // Predicted + active is plain; the other six have patterns, of which dense and exact share one in two colours.
    expect(patterns.size).toBeGreaterThanOrEqual(codes.length - 1);
    const palette = coloursOf(theme, 'viridis').value;
    const skipped = new Set(
      palette.flatMap((row) => Array.from({ length: 8 }, (_, x) => row[(x << 8) | state.skipped])),
    );
    expect(skipped).toEqual(
      new Set([packed(stateStyle(theme, state.skipped).fill), packed(stateStyle(theme, state.skipped).ink)]),
    );
  });
});

describe('grids', () => {
  it('of one layer and of the model hold the state of each neuron', () => {
    for (let layer = 0; layer < shape.layers; layer++) {
      const grid = layerGrid(record, layer, 'state', 10, 1);
      expect([grid.rows, grid.columns]).toEqual([11, 10]);
      for (let neuron = 0; neuron < shape.neurons; neuron++) {
        expect(grid.codes[neuron]).toBe(neuronCode(stateOf(record, layer, neuron), record.layers[layer]!));
      }
      expect(grid.codes.subarray(shape.neurons).every((code) => code === state.none)).toBe(true);
    }
    const model = modelGrid(record, 34);
    expect([model.rows, model.columns]).toEqual([15, 34]);
    const cell = (layer: number, neuron: number) => model.codes[layer * 3 * 34 + neuron];
    expect(cell(4, 100)).toBe(neuronCode(stateOf(record, 4, 100), record.layers[4]!));
    expect(cell(2, 57)).toBe(neuronCode(stateOf(record, 2, 57), record.layers[2]!));
    expect(cell(0, 101)).toBe(state.none);
  });

  it('of values: unknown is hatched, never zero', () => {
    const grid = layerGrid(record, 1, 'value', 101, layerPeak(record, 1));
    const values = layerValues(record, 1);
    values.forEach((value, neuron) => {
      if (Number.isNaN(value)) expect(grid.codes[neuron]).toBe(state.skipped);
      else expect(grid.codes[neuron]).toBeGreaterThanOrEqual(firstLevel);
      if (value === 0) expect(grid.codes[neuron]).toBe(signedLevel(0));
    });
  });

  it('of blocks by each measure', () => {
    expect(blockGrid(frame, 'state', 1).codes[0]).toBe(state.plainActive);
    const active = blockGrid(frame, 'active', 1);
    expect(active.codes[3]).toBe(level(Math.sqrt(frame.active[3]! / 16)));
    // The last block is shorter: its share counts what it has.
    expect(active.codes[6]).toBe(level(Math.sqrt(frame.active[6]! / 5)));
    const plain = summaryOf(patternRecord(shape, 4), 16);
    expect(plain.audit).toBe(false);
    expect(blockGrid(plain, 'missed', 1).codes.every((code) => code === state.none)).toBe(true);
    expect(blockValue(plain, 0, 0, 'missed')).toBeNaN();
  });

  it('of heads', () => {
    const norms = headGrid(frame, 'norm', 4);
    frame.headNorms.forEach((norm, at) => {
      expect(norms.codes[at] === state.skipped).toBe(Number.isNaN(norm));
    });
  });

  it('wrap into lines that fit', () => {
    expect(wrapColumns(1536, 2.4)).toBe(61);
    expect(wrapColumns(28_672, 2)).toBe(256);
    expect(wrapColumns(3, 9)).toBe(3);
  });
});

describe('differences', () => {
  const other = summaryOf(patternRecord(shape, 7), 16);
  it('are B less A, as shares of a block', () => {
    const { grid, max, differing } = differenceGrid(frame, other, 'active');
    const expected = Array.from(frame.active, (value, at) => (other.active[at]! - value) / (at % 7 === 6 ? 5 : 16));
    expect(max).toBe(Math.max(...expected.map(Math.abs)));
    expect(differing).toBe(expected.filter((value) => value !== 0).length);
    expected.forEach((value, at) => expect(grid.codes[at]).toBe(signedLevel(value / max)));
    expect(blockDifference(frame, other, 1, 2, 'active')).toBe(expected[9]);
  });

  it('of a frame and itself are none', () => {
    const { grid, differing } = differenceGrid(frame, frame, 'computed');
    expect(differing).toBe(0);
    expect(new Set(grid.codes)).toEqual(new Set([signedLevel(0)]));
  });
});
