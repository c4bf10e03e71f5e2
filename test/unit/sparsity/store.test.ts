import { execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodePredictors } from '../../../electron/sparsity/onnx';
import type { Pack } from '../../../electron/sparsity/pack';
import { openReference } from '../../../electron/sparsity/reference';
import { findPack, loadPack, packPath, writePack } from '../../../electron/sparsity/store';
import { seededRandom } from '../../helpers/random';
import {
  changedOnnx,
  floats,
  refusal,
  samplePack,
  samplePredictors,
  scores,
  shape,
  target,
  tempFolder,
} from './helpers';
import { zipOf, type ZipEntry } from './zip';

const folder = tempFolder();
/** A model's path in a folder of its own; nobody reads the file itself. */
const newModel = (name = 'tiny.gguf'): string => path.join(mkdtempSync(path.join(folder, 'm-')), name);

const json = (pack: Pack = samplePack()): Buffer => Buffer.from(JSON.stringify(pack));
const onnx = (): Uint8Array => encodePredictors(samplePredictors(), shape);
const entries = (prefix = ''): ZipEntry[] => [
  { name: `${prefix}pack.json`, data: json(), deflate: true },
  { name: `${prefix}predictors.onnx`, data: onnx() },
];

/** A pack as other tools make it: two files in a folder. */
function byHand(model: string, pack: string | Buffer | null, predictors: Uint8Array | null): string {
  const place = packPath(model);
  mkdirSync(place);
  if (pack !== null) writeFileSync(path.join(place, 'pack.json'), pack);
  if (predictors) writeFileSync(path.join(place, 'predictors.onnx'), predictors);
  return place;
}

async function problemOf(model: string): Promise<string> {
  const { pack, problem } = await loadPack(model, target);
  expect(pack).toBeNull();
  expect(problem).toMatch(/^The sparsity pack "tiny\.hunchpack(\.zip)?" is not used: /);
  return problem!;
}

describe('a pack beside a model', () => {
  it('comes back as it was written, with nothing left over', async () => {
    const model = newModel();
    const place = await writePack(model, samplePack(), samplePredictors());
    expect(place).toBe(path.join(path.dirname(model), 'tiny.hunchpack'));
    const { pack, problem } = await loadPack(model, target);
    expect(problem).toBeNull();
    expect(pack!.path).toBe(place);
    expect(pack!.predictors).toEqual(samplePredictors());
    const { predictorsSha256, ...info } = pack!.info;
    expect(info).toEqual(samplePack());
    expect(predictorsSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(readdirSync(path.dirname(model))).toEqual(['tiny.hunchpack']);
    expect(readdirSync(place).sort()).toEqual(['pack.json', 'predictors.onnx']);
  });

  it('may have thresholds only', async () => {
    for (const none of [null, { mlp: [null, null, null], heads: [null, null, null] }]) {
      const model = newModel();
      const place = await writePack(model, samplePack(null), none);
      expect(readdirSync(place)).toEqual(['pack.json']);
      const { pack } = await loadPack(model, target);
      expect(pack).toMatchObject({ predictors: null, info: samplePack(null) });
    }
  });

  it('may be absent', async () => {
    expect(await findPack(newModel())).toBeNull();
    expect(await loadPack(newModel(), target)).toEqual({ pack: null, problem: null });
    expect(await loadPack(path.join(folder, 'no', 'such', 'folder.gguf'), target)).toEqual({
      pack: null,
      problem: null,
    });
  });

  it('is named after the file without .gguf', () => {
    expect(path.basename(packPath(path.join('a', 'Model.Q4_0.GGUF')))).toBe('Model.Q4_0.hunchpack');
    expect(path.basename(packPath('model'))).toBe('model.hunchpack');
  });

  it('made by other tools needs no checksum and no metadata', async () => {
    const model = newModel();
    byHand(
      model,
      json(),
      changedOnnx((file) => (file.metadataProps = [])),
    );
    expect((await loadPack(model, target)).pack!.predictors).toEqual(samplePredictors());
  });

  it('made with PyTorch by the script in docs/packs.md loads, and means what onnxruntime computes', async () => {
    const model = newModel();
    cpSync(path.join(import.meta.dirname, 'pytorch'), packPath(model), { recursive: true });
    const { sha256 } = (JSON.parse(readFileSync(path.join(packPath(model), 'pack.json'), 'utf8')) as Pack).model;
    const { pack, problem } = await loadPack(model, { ...target, sha256 });
    expect(problem).toBeNull();
    const { mlp } = pack!.predictors!;
    expect(mlp.map((predictor) => predictor && [predictor.source, predictor.rank, predictor.relu])).toEqual([
      null,
      ['previous', 5, true],
      ['previous', 5, true],
    ]);
    const reference = await openReference(path.join(packPath(model), 'predictors.onnx'));
    const inputs = floats(2 * shape.width, seededRandom(31));
    for (const layer of [1, 2]) {
      const got = await reference.run(layer, 'mlp', inputs, 2);
      const want = [0, 1].flatMap((i) => [
        ...scores(mlp[layer]!, shape.neurons, inputs.subarray(i * shape.width, (i + 1) * shape.width)),
      ]);
      want.forEach((score, i) => expect(Math.abs(got[i]! - score)).toBeLessThan(1e-5));
      expect(Math.max(...want.map(Math.abs))).toBeGreaterThan(0.1);
    }
    await reference.close();
  });

  it.each([
    ['.hunchpack', ''],
    ['.hunchpack.zip', ''],
    ['.hunchpack.zip', 'tiny.hunchpack/'],
  ])('may be a zip (%s, files in "%s")', async (ending, prefix) => {
    const model = newModel();
    const extra = { name: '__MACOSX/._pack.json', data: Buffer.from('x') };
    writeFileSync(path.join(path.dirname(model), `tiny${ending}`), zipOf([extra, ...entries(prefix)]));
    const { pack, problem } = await loadPack(model, target);
    expect(problem).toBeNull();
    expect(pack!.predictors).toEqual(samplePredictors());
    expect(readdirSync(path.dirname(model))).toEqual([`tiny${ending}`]); // read in memory, not unpacked
  });

  it('of another model is refused with both names', async () => {
    const model = newModel();
    await writePack(model, samplePack(), samplePredictors());
    const { problem } = await loadPack(model, { ...target, sha256: 'cd'.repeat(32) });
    expect(problem).toBe(
      'The sparsity pack "tiny.hunchpack" is not used: it was made for another model (tiny.gguf, SHA-256 abababababab…; this one has cdcdcdcdcdcd…). Calibrate this model to make its own pack, or remove this one.',
    );
    const other = await loadPack(model, { ...target, spec: { ...target.spec, ffnWidth: 24 } });
    expect(other.problem).toContain('pack.json gives the model neurons 20, but it has 24');
    expect((await loadPack(model, { ...target, sha256: target.sha256.toUpperCase() })).problem).toBeNull();
  });
});

describe('writing', () => {
  it('replaces an older pack, and a zip in its place', async () => {
    const model = newModel();
    writeFileSync(packPath(model), zipOf(entries()));
    await writePack(model, samplePack(null), null);
    expect((await loadPack(model, target)).pack!.predictors).toBeNull();
    await writePack(model, samplePack(), samplePredictors(2));
    expect((await loadPack(model, target)).pack!.predictors).toEqual(samplePredictors(2));
    expect(readdirSync(path.dirname(model))).toEqual(['tiny.hunchpack']);
  });

  it('leaves the old pack alone when the new one is wrong', async () => {
    const model = newModel();
    await writePack(model, samplePack(), samplePredictors());
    const wrong: [Pack, ReturnType<typeof samplePredictors>][] = [
      [{ ...samplePack(), sensitivity: [0] }, samplePredictors()],
      [samplePack(null), samplePredictors()], // predictors that pack.json does not list
      [samplePack(), { ...samplePredictors(), mlp: [null] }],
    ];
    for (const [pack, predictors] of wrong) {
      expect((await refusal(() => writePack(model, pack, predictors))).code).toBe('pack-invalid');
      expect((await loadPack(model, target)).pack!.predictors).toEqual(samplePredictors());
      expect(readdirSync(path.dirname(model))).toEqual(['tiny.hunchpack']);
    }
  });

  it('says so where the folder is gone', async () => {
    const model = path.join(folder, 'gone', 'tiny.gguf');
    const { code, message } = await refusal(() => writePack(model, samplePack(), null));
    expect(code).toBe('internal');
    expect(message).toContain('tiny.hunchpack could not be written');
  });

  it('by several at once leaves one whole pack', async () => {
    const model = newModel();
    const tries = await Promise.allSettled(
      Array.from({ length: 6 }, (_, i) => writePack(model, samplePack(), samplePredictors(i))),
    );
    expect(tries.some(({ status }) => status === 'fulfilled')).toBe(true);
    const { pack, problem } = await loadPack(model, target);
    expect(problem).toBeNull();
    expect(Array.from({ length: 6 }, (_, i) => samplePredictors(i))).toContainEqual(pack!.predictors);
    expect(readdirSync(path.dirname(model)).filter((name) => name.includes('.new-'))).toEqual([]);
  });

  it('that was cut off between the two renames still leaves the old pack', async () => {
    const model = newModel();
    const place = await writePack(model, samplePack(), samplePredictors());
    renameSync(place, `${place}.old`);
    expect((await loadPack(model, target)).pack!.predictors).toEqual(samplePredictors());
    await writePack(model, samplePack(), samplePredictors(2));
    expect((await loadPack(model, target)).pack!.predictors).toEqual(samplePredictors(2));
  });

  it('that was cut off earlier is never taken for a pack, and cleared away after an hour', async () => {
    const model = newModel();
    const left = `${packPath(model)}.new-left`;
    mkdirSync(left);
    writeFileSync(path.join(left, 'pack.json'), '{');
    expect(await findPack(model)).toBeNull();
    await writePack(model, samplePack(null), null);
    expect(existsSync(left)).toBe(true); // someone may be at work in it
    utimesSync(left, new Date(0), new Date(0));
    await writePack(model, samplePack(null), null);
    expect(readdirSync(path.dirname(model))).toEqual(['tiny.hunchpack']);
  });
});

describe('a broken pack is a sentence, never an error:', () => {
  it.each([
    ['nothing in it', null, null, 'it has no pack.json'],
    ['no JSON', 'hello', null, 'pack.json is not readable JSON'],
    ['bytes for JSON', Buffer.from([0xff, 0xfe, 0, 1]), null, 'pack.json is not readable JSON'],
    ['no predictors', json(), null, 'it has no predictors.onnx'],
    ['no ONNX', json(), Buffer.from('hello'), 'predictors.onnx is not an ONNX file'],
    ['empty ONNX', json(), Buffer.alloc(0), 'predictors.onnx holds no predictors'],
    ['predictors that pack.json lacks', json(samplePack(null)), onnx(), 'say different things of blk.1.mlp.score'],
    [
      'another checksum',
      json({ ...samplePack(), predictorsSha256: '0'.repeat(64) }),
      onnx(),
      'predictors.onnx is damaged',
    ],
  ])('%s', async (_what, pack, predictors, said) => {
    const model = newModel();
    byHand(model, pack, predictors);
    expect(await problemOf(model)).toContain(said);
  });

  it('a file where the folder belongs, a folder where a file belongs', async () => {
    const model = newModel();
    writeFileSync(packPath(model), 'hello');
    expect(await problemOf(model)).toContain('it is a damaged zip');
    rmSync(packPath(model));
    mkdirSync(path.join(byHand(model, json(), null), 'predictors.onnx'));
    expect(await problemOf(model)).toContain('predictors.onnx is not a file');
  });

  it('files above the limits, before they are read', async () => {
    const model = newModel();
    const place = byHand(model, json(), null);
    const huge = path.join(place, 'predictors.onnx');
    writeFileSync(huge, '');
    execFileSync(process.execPath, ['-e', `require('fs').truncateSync(${JSON.stringify(huge)}, 600 * 2 ** 20)`]); // sparse
    expect(await problemOf(model)).toContain('predictors.onnx is larger than 512 MB');
    writeFileSync(path.join(place, 'pack.json'), ' '.repeat(8 * 2 ** 20 + 1));
    expect(await problemOf(model)).toContain('pack.json is larger than 8 MB');
  });

  it.skipIf(process.platform === 'win32')('links to devices, pipes and nowhere', async () => {
    const model = newModel();
    const place = byHand(model, json(), null);
    const file = path.join(place, 'predictors.onnx');
    symlinkSync('/dev/zero', file);
    expect(await problemOf(model)).toContain('predictors.onnx is not a file');
    rmSync(file);
    execFileSync('mkfifo', [file]);
    expect(await problemOf(model)).toContain('predictors.onnx is not a file');
    rmSync(file);
    symlinkSync(path.join(place, 'nowhere'), file);
    expect(await problemOf(model)).toContain('it has no predictors.onnx');
  });
});

describe('a hostile zip is a sentence:', () => {
  const [pack, predictors] = entries() as [ZipEntry, ZipEntry];
  it.each([
    ['cut off', zipOf(entries()).subarray(0, 200), 'damaged zip'],
    ['empty', zipOf([]), 'it has no pack.json'],
    ['a path upwards', zipOf([{ ...pack, name: '../pack.json' }, predictors]), 'damaged zip (invalid relative path'],
    ['an absolute path', zipOf([{ ...pack, name: '/pack.json' }, predictors]), 'damaged zip'],
    ['a drive', zipOf([{ ...pack, name: 'C:\\pack.json' }, predictors]), 'damaged zip'],
    ['two of one name', zipOf([pack, pack, predictors]), 'two files named pack.json'],
    [
      'files in two folders',
      zipOf([
        { ...pack, name: 'a/pack.json' },
        { ...predictors, name: 'b/predictors.onnx' },
      ]),
      'two folders',
    ],
    ['files too deep', zipOf([{ ...pack, name: 'a/b/pack.json' }, predictors]), 'it has no pack.json'],
    [
      'many files',
      zipOf(Array.from({ length: 65 }, (_, i) => ({ name: `${i}`, data: Buffer.alloc(0) }))),
      'a zip of 65 files',
    ],
    ['more files than it has', zipOf(entries(), { entryCount: 9 }), 'damaged zip'],
    [
      'a size above the limit',
      zipOf([pack, { ...predictors, deflate: true, says: { size: 2 ** 30 } }]),
      'predictors.onnx is larger than 512 MB',
    ],
    [
      'a bomb',
      zipOf([{ name: 'pack.json', data: Buffer.alloc(64 << 20), deflate: true }, predictors]),
      'pack.json is larger than 8 MB',
    ],
    [
      'a bomb that says it is small',
      zipOf([{ name: 'pack.json', data: Buffer.alloc(64 << 20), deflate: true, says: { size: 100 } }, predictors]),
      'pack.json cannot be unpacked',
    ],
    [
      'a size that is too large',
      zipOf([{ ...pack, says: { size: 5000 } }, predictors]),
      'pack.json cannot be unpacked',
    ],
    ['encryption', zipOf([{ ...pack, says: { flags: 0x801 } }, predictors]), 'damaged zip'],
    ['an unknown compression', zipOf([{ ...pack, says: { method: 99 } }, predictors]), 'damaged zip'],
    [
      'no deflate stream',
      zipOf([{ name: 'pack.json', data: Buffer.alloc(100, 0xff), says: { method: 8 } }, predictors]),
      'pack.json cannot be unpacked',
    ],
  ])('%s', async (_what, bytes, said) => {
    const model = newModel();
    writeFileSync(`${packPath(model)}.zip`, bytes);
    expect(await problemOf(model)).toContain(said);
    expect(readdirSync(path.dirname(model))).toEqual(['tiny.hunchpack.zip']);
  });
});

describe('any flipped bits', () => {
  async function flipAll(
    file: string,
    model: string,
    rounds: number,
    seed: number,
  ): Promise<{ used: number; refused: number }> {
    const good = readFileSync(file);
    const random = seededRandom(seed);
    const outcome = { used: 0, refused: 0 };
    for (let round = 0; round < rounds; round++) {
      const bytes = Buffer.from(good);
      for (let flips = 1 + Math.floor(random() * 3); flips > 0; flips--) {
        const at = Math.floor(random() * bytes.length);
        bytes[at] = bytes[at]! ^ (1 << Math.floor(random() * 8));
      }
      writeFileSync(file, bytes);
      const { pack, problem } = await loadPack(model, target); // must not throw
      expect(pack === null ? typeof problem : problem).toBe(pack === null ? 'string' : null);
      outcome[pack ? 'used' : 'refused']++;
    }
    writeFileSync(file, good);
    expect((await loadPack(model, target)).problem).toBeNull();
    return outcome;
  }

  it('in a zip never throw', async () => {
    const model = newModel();
    writeFileSync(packPath(model), zipOf(entries()));
    expect((await flipAll(packPath(model), model, 400, 21)).refused).toBeGreaterThan(50);
  });

  it('in pack.json never throw', async () => {
    const model = newModel();
    const place = await writePack(model, samplePack(), samplePredictors());
    expect((await flipAll(path.join(place, 'pack.json'), model, 400, 22)).refused).toBeGreaterThan(50);
  });

  it('in predictors.onnx never throw, and are all found by the checksum', async () => {
    const model = newModel();
    const place = await writePack(model, samplePack(), samplePredictors());
    expect((await flipAll(path.join(place, 'predictors.onnx'), model, 400, 23)).used).toBe(0);
  });
});
