import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../electron/contract/errors';
import { HunchError } from '../../../electron/contract/errors';
import { readModelFile, type ModelFile } from '../../../electron/models/gguf';
import type { GgufContent } from './ggufFile';
import { ggufBytes, hugeList, tinyLlama, writeModel } from './ggufFile';

const [width, neurons, rank] = [64, 96, 16]; // of tinyLlama; of its predictor
const threshold = 'powerinfer.sparse_threshold';
const f32 = 0;
const f16 = 1;
const q41 = 3;

/** tinyLlama as PowerInfer writes it, with predictors. */
function tiny(change: (content: GgufContent) => void = () => {}): GgufContent {
  const content = { ...tinyLlama(), magic: 'PWRI' };
  content.tensors[10] = { name: 'blk.0.ffn_down_t.weight', shape: [width, neurons], type: q41 };
  content.tensors.push(
    { name: 'blk.0.fc1.weight', shape: [width, rank], type: f16 },
    { name: 'blk.0.fc2.weight', shape: [rank, neurons], type: f32 },
  );
  change(content);
  return content;
}

const read = (content: GgufContent): Promise<ModelFile> => readModelFile(writeModel(content));
const names = ({ spec }: ModelFile): string[] => spec.tensors.map(({ name }) => name);

async function refused(content: GgufContent | Buffer, code: ErrorCode, ...says: string[]): Promise<void> {
  const error = await readModelFile(writeModel(content)).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(HunchError);
  expect((error as HunchError).code).toBe(code);
  for (const part of ['tiny.gguf', ...says]) expect((error as HunchError).message).toContain(part);
}

/** tinyLlama's keys and matrices under another architecture's name. */
function renamed(content: GgufContent, architecture: string): void {
  content.keys = Object.fromEntries(
    Object.entries(content.keys).map(([key, value]) => [key.replace(/^llama\./, `${architecture}.`), value]),
  );
  content.keys['general.architecture'] = architecture;
}

describe('reading a PowerInfer file', () => {
  it('gives a ReLU model, and its predictors apart', async () => {
    const file = await read(tiny());
    expect(file.spec).toMatchObject({ architecture: 'llama', activation: 'relu' });
    expect(file.quantization).toBe('Q4_1');
    expect(names(file)).toContain('blk.0.ffn_down_t.weight');
    expect(names(file).filter((name) => name.includes('fc'))).toEqual([]);
    expect(file.predictors).toMatchObject({
      threshold: 0,
      layers: [{ fc1: { type: 'F16', shape: [width, rank] }, fc2: { type: 'F32', shape: [rank, neurons] } }],
    });
  });

  it('takes the threshold from its key', async () => {
    expect((await read(tiny(({ keys }) => (keys[threshold] = -0.25)))).predictors!.threshold).toBe(-0.25);
  });

  it('runs without predictors, too', async () => {
    const file = await read(tiny(({ tensors }) => tensors.splice(-2)));
    expect(file).toMatchObject({ predictors: null, spec: { activation: 'relu' } });
  });

  it('knows Bamboo, with dReLU, in both kinds of file', async () => {
    expect((await read(tiny((content) => renamed(content, 'bamboo')))).spec).toMatchObject({
      ...{ architecture: 'bamboo', activation: 'drelu' },
    });
    const plain = tinyLlama();
    renamed(plain, 'bamboo');
    expect(await read(plain)).toMatchObject({ spec: { activation: 'drelu' }, predictors: null });
  });

  it('takes OPT’s bias of the down projection and its table of positions', async () => {
    const vector = (name: string, length: number) => ({ name: `blk.0.${name}`, shape: [length] });
    const opt = tiny((content) => {
      renamed(content, 'opt');
      content.keys['opt.context_length'] = 130;
      content.tensors = content.tensors.filter(({ name }) => !name.includes('gate'));
      content.tensors.push(
        ...['attn_norm', 'attn_q', 'attn_output', 'ffn_norm', 'ffn_down_t'].map((name) =>
          vector(`${name}.bias`, width),
        ),
        ...['attn_k', 'attn_v'].map((name) => vector(`${name}.bias`, 32)),
        vector('ffn_up.bias', neurons),
        { name: 'output_norm.bias', shape: [width] },
        { name: 'position_embd.weight', shape: [width, 130] },
      );
    });
    const file = await read(opt);
    expect(file.spec).toMatchObject({ trainedContext: 128, activation: 'relu' });
    expect(names(file)).toContain('blk.0.ffn_down.bias');
    opt.tensors.push(vector('ffn_down.bias', width));
    await refused(opt, 'model-unsupported', '"blk.0.ffn_down_t.bias"');
  });
});

describe('refusing a PowerInfer file', () => {
  it('of another architecture, and a list of neurons for the graphics card', async () => {
    const of = (name: string) => tiny((content) => renamed(content, name));
    await refused(of('falcon'), 'model-unsupported', '"falcon"', 'llama, bamboo, opt');
    await refused(of('qwen2'), 'model-unsupported', '"qwen2"');
    await refused(of('generic.gpu_index'), 'model-unsupported', 'graphics card', 'it is no model');
  });

  it('whose activation is none of ReLU’s', async () => {
    await refused(
      tiny(({ keys }) => (keys['llama.feed_forward_activation'] = 'silu')),
      'model-invalid',
      '"llama.feed_forward_activation" is "silu"',
      'relu or drelu',
    );
  });

  it('whose threshold is no number', async () => {
    for (const value of ['high', Infinity, NaN, true]) {
      await refused(
        tiny(({ keys }) => (keys[threshold] = value)),
        'model-invalid',
        `"${threshold}"`,
        'must be a number',
      );
    }
  });

  it('whose predictors have another shape, or half of them', async () => {
    const shaped = (index: number, shape: number[]) => tiny(({ tensors }) => (tensors.at(index)!.shape = shape));
    await refused(shaped(-2, [32, rank]), 'model-invalid', '"blk.0.fc1.weight" is [32, 16], but must be [64, 16]');
    await refused(shaped(-2, [width]), 'model-invalid', '"blk.0.fc1.weight" is [64], but must be [64, 1]');
    await refused(shaped(-2, [width, rank, 2]), 'model-invalid', '[64, 16, 2]');
    await refused(shaped(-1, [rank, width]), 'model-invalid', '"blk.0.fc2.weight" is [16, 64], but must be [16, 96]');
    await refused(shaped(-1, [32, neurons]), 'model-invalid', '[32, 96]', '[16, 96]');
    await refused(
      tiny(({ tensors }) => tensors.pop()),
      'model-invalid',
      '"blk.0.fc2.weight" is missing',
    );
  });

  it('with predictors of layers that it has not, with biases of them, or in a plain GGUF', async () => {
    const fc = (name: string) => tiny(({ tensors }) => tensors.push({ name, shape: [rank] }));
    await refused(fc('blk.1.fc1.weight'), 'model-unsupported', '"blk.1.fc1.weight"');
    await refused(fc('blk.0.fc1.bias'), 'model-unsupported', '"blk.0.fc1.bias"');
    await refused(
      tiny((content) => (content.magic = 'GGUF')),
      'model-unsupported',
      '"blk.0.fc1.weight"',
    );
  });

  it('with a hostile header, as any other', async () => {
    const max = 2n ** 64n - 1n;
    const start = performance.now();
    await refused(
      tiny((content) => (content.tensorCount = max)),
      'model-invalid',
      String(max),
    );
    await refused(
      tiny((content) => (content.version = 9)),
      'model-unsupported',
      'version 9',
    );
    await refused(
      tiny(({ keys }) => (keys['general.basename'] = hugeList(max))),
      'model-invalid',
    );
    await refused(
      tiny((content) => (content.dataBytes = 100)),
      'model-truncated',
      'cut off',
    );
    await refused(
      tiny((content) => {
        content.tensors.at(-2)!.shape = [width, 2n ** 31n];
        content.dataBytes = 60_000;
      }),
      'model-truncated',
      '"blk.0.fc1.weight"',
    );
    await refused(
      tiny(({ tensors }) => (tensors.at(-1)!.offset = 0n)),
      'model-invalid',
      'overlap',
    );
    await refused(Buffer.from('PWRI'), 'model-truncated');
    await refused(Buffer.from('PWRJ'.padEnd(64)), 'model-not-gguf');
    await refused(ggufBytes(tiny()).subarray(0, 900), 'model-truncated');
    expect(performance.now() - start).toBeLessThan(3000);
  });
});
