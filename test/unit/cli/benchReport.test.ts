import { describe, expect, it } from 'vitest';
import { readOptions } from '../../../scripts/bench/options.mjs';
import { bandwidth, makeRow, summarise, table } from '../../../scripts/bench/rows.mjs';

describe('a row of the report', () => {
  const row = { label: 'Model', metric: 'tg128', unit: 'tok/s', peer: 'llama.cpp' };

  it('compares medians and gives the spread of the pairs that ran in turn', () => {
    const made = makeRow({ ...row, ours: [300, 100, 200], theirs: [100, 100, 50] });
    expect(made).toMatchObject({ ratio: 2, ratioMin: 1, ratioMax: 4, ours: { median: 200, min: 100, max: 300 } });
    expect(makeRow({ ...row, ours: [1, 3], theirs: [4] }).ours?.median).toBe(2);
  });

  it('without a peer says why', () => {
    const made = makeRow({ ...row, ours: [300], theirs: [], reason: 'not built' });
    expect(made).toMatchObject({ ratio: null, theirs: null, reason: 'not built' });
    expect(table([made])).toMatch(/Model tg128 {2}300\.0 \(300\.0–300\.0\) {2}– \(not built\) +–$/m);
  });

  it('shows ratio, spread and the share of the bandwidth', () => {
    const read = { weightBytesPerToken: 1e8, readGBps: [50, 60, 40] };
    const made = makeRow({ ...row, ours: [400], theirs: [100], ...bandwidth([400], read) });
    expect(made).toMatchObject({ ourGBps: 40, readGBps: 50, readShare: 0.8 });
    expect(table([made])).toMatch(
      /100\.0 \(100\.0–100\.0\) llama\.cpp {2}4\.00 \(4\.00–4\.00\) {2}40\.0 {2}50\.0 {2}80 %$/m,
    );
    expect(bandwidth([], read)).toEqual({});
    expect(summarise([])).toBeNull();
  });
});

describe('the options of npm run bench', () => {
  it('have defaults; --quick is short', () => {
    expect(readOptions([])).toMatchObject({ repetitions: 5, threads: 0, shapes: [], nodeLlamaCpp: true, save: true });
    expect(readOptions(['--disk', 'relu-starter-4b:q4_0:0.11'])).toMatchObject({
      disk: [{ shape: 'relu-starter-4b', type: 'q4_0', density: 0.11 }],
      nodeLlamaCpp: false,
    });
    expect(readOptions(['--sparse', 'opt-6.7b:q4_0:0.10:0.42,prosparse-llama-2-7b:q4_0:0.11']).sparse).toEqual([
      { shape: 'opt-6.7b', type: 'q4_0', density: 0.1, heads: 0.42 },
      { shape: 'prosparse-llama-2-7b', type: 'q4_0', density: 0.11, heads: undefined },
    ]);
    for (const wrong of ['opt-6.7b:q4_0', 'opt-6.7b:q4_0:2', 'opt-6.7b:q4_0:x', 'opt-6.7b:q4_0:0.1:0.2:0.3']) {
      expect(() => readOptions(['--sparse', wrong])).toThrow('--sparse must be like');
    }
    expect(readOptions(['--quick'])).toMatchObject({ repetitions: 3, nodeLlamaCpp: false });
    expect(readOptions(['--quick', '--reps', '7', '--no-save'])).toMatchObject({ repetitions: 7, save: false });
  });

  it('take shapes with their types', () => {
    expect(readOptions(['--shapes', 'llama-3.2-1b:q4_0,llama-2-7b:Q4_K']).shapes).toEqual([
      { shape: 'llama-3.2-1b', type: 'q4_0' },
      { shape: 'llama-2-7b', type: 'q4_k' },
    ]);
  });

  it('refuse what they do not know', () => {
    expect(() => readOptions(['--shapes', 'llama-2-7b'])).toThrow(/like llama-3\.2-1b:q4_0, but has "llama-2-7b"/);
    expect(() => readOptions(['--reps', '0'])).toThrow(/--reps must be a whole number from 1/);
    expect(() => readOptions(['--fast'])).toThrow(/--fast/);
  });
});
