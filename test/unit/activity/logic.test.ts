import { describe, expect, it } from 'vitest';
import { neuronState, stateOf } from '../../../electron/contract/frames';
import { commonPrefix, identical, tokenDiff } from '../../../renderer/activity/difference';
import { editWords, parsePlace, withEdit } from '../../../renderer/activity/edits';
import { activate, layerHistogram } from '../../../renderer/activity/histogram';
import { frameRows, LayerTotals } from '../../../renderer/activity/layers';
import { slowdownOf, type SpeedSample } from '../../../renderer/activity/slowdown';
import { extremes, specificToReply, specificToToken } from '../../../renderer/activity/specific';
import { blockWords, headWords, neuronWords, tokenWords } from '../../../renderer/activity/words';
import { tokenKey } from '../../../renderer/components/activity/TokenStrip';
import { costWords, deviceCaptureWords } from '../../../renderer/components/activity/CaptureControls';
import { patternRecord, summaryOf } from '../../helpers/frames';

const shape = { layers: 4, neurons: 64, heads: 3 };
const record = patternRecord(shape, 3);
const frame = summaryOf(record, 16);

describe('the table of layers', () => {
  it('gives shares, bytes and, from audit tokens, precision and recall', () => {
    const rows = frameRows(frame);
    expect(rows.map(({ route }) => route)).toEqual(['dense', 'predicted', 'exact', 'screened']);
    const [dense, predicted] = rows;
    expect(dense!.computed).toBe(1);
    expect([dense!.precision, dense!.recall]).toEqual([null, null]);
    const { named, active, missed } = frame.layers[1]!;
    expect(predicted!.precision).toBe(active / named);
    expect(predicted!.recall).toBe(1 - missed / (active + missed));
  });

  it('an exact layer that drops weak neurons has recall, and no precision', () => {
    const rows = frameRows(frame);
    expect(rows[2]!.route).toBe('exact');
    expect(frame.layers[2]!.gateThreshold).toBeGreaterThan(0);
    expect(rows[2]!.precision).toBeNull();
    expect(rows[2]!.recall).toBe(1);
    const whole = { ...frame, layers: frame.layers.map((layer) => ({ ...layer, gateThreshold: 0 })) };
    expect(frameRows(whole)[2]!.recall).toBeNull();
  });

  it('knows no recall without audit tokens', () => {
    const totals = new LayerTotals();
    totals.add(summaryOf(patternRecord(shape, 4), 16));
    totals.add(summaryOf(patternRecord(shape, 5), 16));
    expect(totals.rows().every(({ recall, precision }) => recall === null && precision === null)).toBe(true);
    expect([totals.frames, totals.audits]).toEqual([2, 0]);
  });
});

describe('neurons that stand out', () => {
  const rates = (tokens: number, active: (at: number) => number) => ({
    tokens,
    layers: shape.layers,
    neurons: shape.neurons,
    active: Uint32Array.from({ length: shape.layers * shape.neurons }, (_, at) => active(at)),
  });

  it('in a token: active here, rarely in the session', () => {
    const actives: number[] = [];
    for (let at = 0; at < shape.layers * shape.neurons; at++) {
      if (stateOf(record, Math.floor(at / 64), at % 64) & neuronState.active) actives.push(at);
    }
    const rare = actives[3]!;
    const [first] = specificToToken(
      record,
      rates(100, (at) => (at === rare ? 1 : 60)),
    );
    expect(first!.layer * 64 + first!.neuron).toBe(rare);
    expect(first!.score).toBeGreaterThan(6);
    expect(specificToToken(record, { ...rates(1, () => 0), neurons: 5 })).toEqual([]);
  });

  it('in a reply: more often than in the session, by how surprising that is', () => {
    const list = specificToReply(
      rates(20, (at) => (at === 70 ? 20 : at === 80 ? 2 : 1)),
      rates(1000, (at) => (at === 70 ? 30 : 50)),
    );
    expect(list[0]).toMatchObject({ layer: 1, neuron: 6, rate: 1, base: 0.03 });
    expect(list.every(({ rate, base }) => rate > base - 0.02)).toBe(true);
  });

  it('never and always', () => {
    const found = extremes(rates(9, (at) => (at < 3 ? 0 : at === 200 ? 9 : 4)));
    expect(found.dead).toEqual([3, 0, 0, 0]);
    expect(found.always).toEqual([0, 0, 0, 1]);
    expect(found.alwaysSample).toEqual([{ layer: 3, neuron: 8 }]);
  });
});

describe('the histogram', () => {
  it('holds every active neuron once and the threshold', () => {
    const histogram = layerHistogram(record, 1);
    expect(histogram.counts.reduce((a, b) => a + b, 0)).toBe(record.layers[1]!.active);
    expect(histogram.threshold).toBe(0.125);
    expect(histogram.active + histogram.inactive + histogram.notComputed).toBe(64);
    expect(activate(-1, 'relu')).toBe(0);
    expect(activate(1, 'silu')).toBeCloseTo(0.7311, 4);
    expect(activate(1, 'gelu')).toBeCloseTo(0.8412, 4);
  });
});

describe('edits', () => {
  it('are typed in words', () => {
    expect(parsePlace('layer 12 neuron 345')).toEqual({ kind: 'neuron', layer: 12, index: 345 });
    expect(parsePlace(' L3, head 2 ')).toEqual({ kind: 'head', layer: 3, index: 2 });
    expect(parsePlace('12 n 7')).toEqual({ kind: 'neuron', layer: 12, index: 7 });
    for (const text of ['', 'neuron 3', 'layer 1', 'layer -1 neuron 2', 'layer 1 neuron x'])
      expect(parsePlace(text)).toBeNull();
  });

  it('count once a place, the newer one', () => {
    const edit = { kind: 'neuron', layer: 1, index: 2, action: 'off', value: 0 } as const;
    const edits = withEdit(withEdit([], edit), { ...edit, action: 'force', value: -1.5 });
    expect(edits.map(editWords)).toEqual(['layer 1 neuron 2 forced to −1.5']);
  });
});

describe('token differences', () => {
  const tokens = (text: string) => [...text].map((letter) => ({ id: letter.charCodeAt(0), text: letter }));
  it('by id', () => {
    expect(
      tokenDiff(tokens('abcd'), tokens('abxd')).map(
        ({ kind, tokens: part }) => `${kind} ${part.map(({ text }) => text).join('')}`,
      ),
    ).toEqual(['same ab', 'removed c', 'added x', 'same d']);
    expect(commonPrefix(tokens('abc'), tokens('abd'))).toBe(2);
    expect(identical(tokens('ab'), tokens('ab'))).toBe(true);
    expect(identical(tokens('ab'), tokens('abc'))).toBe(false);
  });
});

describe('the slowdown', () => {
  const sample = (mode: SpeedSample['mode'], tokensPerSecond: number, made = 'm exact'): SpeedSample => ({
    ...{ chatId: 'c', mode, made, tokensPerSecond },
  });
  it('compares medians of replies made alike', () => {
    const list = [
      sample('off', 100),
      sample('off', 104),
      sample('off', 90),
      sample('summary', 97),
      sample('off', 900, 'm fast'),
    ];
    expect(slowdownOf(list, 'c', 'summary')).toMatchObject({ captured: 97, free: 100, replies: 1, freeReplies: 3 });
    expect(costWords(slowdownOf(list, 'c', 'summary'))).toMatch(/^Slowdown: 3\.0 % slower/);
    expect(slowdownOf(list, 'c', 'full')).toBeNull();
    expect(slowdownOf(list, 'other', 'summary')).toBeNull();
    expect(costWords(null)).toBe('Slowdown: not measured yet');
    expect(deviceCaptureWords('NVIDIA H200')).toMatch(
      /run on the CPU while this panel is open.*closed they run on the NVIDIA H200\.$/,
    );
  });
});

describe('words', () => {
  it('for blocks, heads, neurons and tokens', () => {
    expect(blockWords(frame, 1, 0)).toMatch(
      /^Layer 1, neurons 0 to 15: \d+ predicted, \d+ of 16 computed, \d+ active, \d+ missed, peak /,
    );
    expect(headWords(frame, 0, 1)).toMatch(/^Layer 0, head 1: computed, norm /);
    expect(neuronWords(record, 0, 5, 0)).toMatch(/^Layer 0, neuron 5: computed without prediction, /);
    expect(tokenWords(' a\n')).toBe('␣a⏎');
    expect(tokenWords('\u00a0')).toBe('‹00A0›');
  });

  it('keys of the strip', () => {
    const keys = ['ArrowLeft', 'ArrowRight', 'Home', 'End', 'PageUp', 'PageDown', 'a'];
    expect(keys.map((key) => tokenKey(key, 20, 50))).toEqual([19, 21, 0, 49, 30, 10, null]);
  });
});
