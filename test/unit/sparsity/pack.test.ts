import { describe, expect, it } from 'vitest';
import { checkPack, frequenciesOf, packFrequencies, parsePack, type Pack } from '../../../electron/sparsity/pack';
import { plan, refusal, samplePack } from './helpers';

describe('pack.json', () => {
  it('comes back as it was', () => {
    expect(parsePack(JSON.stringify(samplePack()))).toEqual(samplePack());
    expect(parsePack(JSON.stringify(samplePack(null)))).toEqual(samplePack(null));
  });

  it('may have no stops and nothing measured', () => {
    const bare = { ...samplePack(null), stops: {}, frontier: [], measured: null, sensitivity: undefined };
    expect(checkPack(bare).stops).toEqual({});
  });

  it('keeps how often neurons are active, to the nearest 255th', () => {
    const { layers, neurons } = samplePack().model;
    const shares = Array.from({ length: layers }, (_, l) =>
      Float32Array.from({ length: neurons }, (_, n) => ((l + n) % 7) / 6),
    );
    const pack = checkPack(JSON.parse(JSON.stringify({ ...samplePack(), frequencies: packFrequencies(shares) })));
    const back = frequenciesOf(pack)!;
    expect(back.map(({ length }) => length)).toEqual(shares.map(({ length }) => length));
    back.forEach((layer, l) =>
      layer.forEach((share, n) => expect(Math.abs(share - shares[l]![n]!)).toBeLessThan(0.002)),
    );
    expect(frequenciesOf(samplePack())).toBeUndefined();
  });

  const broken: [string, (pack: Pack) => unknown, string][] = [
    [
      'a newer format',
      (pack) => Object.assign(pack, { format: 2 }),
      'newer version of Hunch (format 2; this one reads 1). Update Hunch',
    ],
    ['no format', (pack) => Object.assign(pack, { format: undefined }), 'at format'],
    ['an unknown key', (pack) => Object.assign(pack, { script: 'x' }), '"script"'],
    [
      'an unknown key inside',
      (pack) => Object.assign(pack.stops.fast!.layers[0]!, { path: '/etc/passwd' }),
      'at stops.fast.layers[0]',
    ],
    ['an unknown stop', (pack) => Object.assign(pack.stops, { dense: plan('dense') }), 'at stops'],
    ['an upper-case sha256', (pack) => (pack.model.sha256 = 'AB'.repeat(32)), 'at model.sha256'],
    ['no layers', (pack) => (pack.model.layers = 0), 'at model.layers'],
    ['a billion layers', (pack) => (pack.model.layers = 1e9), 'at model.layers'],
    ['half a head', (pack) => (pack.model.heads = 2.5), 'at model.heads'],
    ['heads that do not share', (pack) => (pack.model.kvHeads = 3), '4 heads cannot share 3 KV heads'],
    ['a control character', (pack) => (pack.model.fileName = 'a\u001b[2J'), 'control characters'],
    ['no date', (pack) => (pack.created = 'yesterday'), 'at created'],
    [
      'a threshold that is text',
      (pack) => Object.assign(pack.stops.fast!.layers[0]!, { scoreThreshold: '1' }),
      'at stops.fast.layers[0].scoreThreshold',
    ],
    ['a threshold above float32', (pack) => (pack.stops.fast!.layers[0]!.scoreThreshold = 1e39), 'scoreThreshold'],
    ['a negative gate threshold', (pack) => (pack.stops.fast!.layers[0]!.gateThreshold = -1), 'gateThreshold'],
    [
      'frequencies of a layer too few',
      (pack) => Object.assign(pack, { frequencies: [Buffer.alloc(pack.model.neurons).toString('base64')] }),
      'frequencies are not one byte',
    ],
    [
      'a frequency too few',
      (pack) => Object.assign(pack, { frequencies: Array(pack.model.layers).fill(Buffer.alloc(1).toString('base64')) }),
      'frequencies are not one byte',
    ],
    ['frequencies that are no base64', (pack) => Object.assign(pack, { frequencies: ['%'] }), 'at frequencies[0]'],
    ['three bits', (pack) => Object.assign(pack.stops.fast!.vocabulary, { bits: 3 }), 'vocabulary.bits'],
    [
      'a layer too few in a stop',
      (pack) => pack.stops.fast!.layers.pop(),
      'stops.fast plans 2 layers, the model has 3',
    ],
    ['a predictor too many', (pack) => pack.predictors.mlp.push(null), 'predictors.mlp has 4 entries for 3 layers'],
    ['a rank above the width', (pack) => (pack.predictors.mlp[1]!.rank = 9), 'predictors.mlp[1] has a higher rank'],
    ['recall above 1', (pack) => (pack.predictors.mlp[1]!.recall = 1.1), 'recall'],
    [
      'a predicted layer without predictor',
      (pack) => (pack.stops.fast!.layers[0]!.mlp = 'predicted'),
      'stops.fast.layers[0] is predicted but has no predictor',
    ],
    [
      'skipped heads without predictor',
      (pack) => (pack.stops.fast!.layers[0]!.headThreshold = 0),
      'no predictor of heads',
    ],
    [
      'an exact stop that is not',
      (pack) => (pack.stops.exact!.layers[2]!.gateThreshold = 0.1),
      'stops.exact.layers[2] is not exact',
    ],
    [
      'an exact stop that screens',
      (pack) => (pack.stops.exact!.layers[2]!.mlp = 'screened'),
      'stops.exact.layers[2] is not exact',
    ],
    [
      'an exact stop with a smaller vocabulary',
      (pack) => (pack.stops.exact!.vocabulary.bits = 4),
      'stops.exact.vocabulary is not exact',
    ],
    ['a layer twice in the order', (pack) => (pack.sensitivity = [0, 0, 1]), 'sensitivity does not name each'],
    ['a layer too high in the order', (pack) => (pack.sensitivity = [0, 1, 3]), 'sensitivity does not name each'],
    ['a frontier without measurement', (pack) => (pack.measured = null), 'do not go together'],
    ['a measurement without frontier', (pack) => (pack.frontier = []), 'do not go together'],
    ['a frontier without dense', (pack) => pack.frontier.shift(), 'does not start with dense'],
    ['a point twice', (pack) => pack.frontier.push(pack.frontier[2]!), 'not in the order'],
    [
      'a point of a stop it lacks',
      (pack) => (pack.frontier[2]!.stop = 'fastest'),
      'fastest, which is not among the stops',
    ],
    ['a speed of zero', (pack) => (pack.frontier[1]!.tokensPerSecond = 0), 'frontier[1].tokensPerSecond'],
    ['more agreement than all', (pack) => (pack.frontier[1]!.agreement = 1.5), 'agreement'],
    ['a novel for a command', (pack) => (pack.measured!.command = 'x'.repeat(2000)), 'measured.command'],
  ];
  it.each(broken)('with %s is refused', async (_what, change, said) => {
    const pack = samplePack();
    change(pack);
    const { code, message } = await refusal(() => checkPack(pack));
    expect(message).toContain(said);
    expect(code).toBe('pack-invalid');
    expect(message).toMatch(/alibrate the model again to replace the pack/);
  });

  it.each([
    ['nothing', ''],
    ['half of it', JSON.stringify(samplePack()).slice(0, 400)],
    ['an infinite number', JSON.stringify(samplePack()).replace('"kl":0.01', '"kl":1e999')],
    ['a list', '[]'],
    ['null', 'null'],
    ['a million brackets', '['.repeat(1e6)],
    ['a million closed brackets', '['.repeat(1e6) + ']'.repeat(1e6)],
    ['two million values', `{"format":1,"sensitivity":[${'"",'.repeat(2e6)}""]}`],
    ['a prototype', '{"__proto__":{"format":1},"constructor":1}'],
  ])('that is %s is refused', async (_what, text) => {
    expect((await refusal(() => parsePack(text))).code).toBe('pack-invalid');
  });
});
