import { mkdirSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ErrorCode } from '../../../electron/contract/errors';
import { HunchError } from '../../../electron/contract/errors';
import { readModelFile } from '../../../electron/models/gguf';
import type { GgufContent } from './ggufFile';
import { ggufBytes, hugeList, hugeText, integers, tinyLlama, writeModel } from './ggufFile';

function changed(change: (content: GgufContent) => void): GgufContent {
  const content = tinyLlama();
  change(content);
  return content;
}

async function refused(content: GgufContent | Buffer, code: ErrorCode, ...says: string[]): Promise<void> {
  const error = await readModelFile(writeModel(content)).then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(HunchError);
  expect((error as HunchError).code).toBe(code);
  for (const part of ['tiny.gguf', ...says]) expect((error as HunchError).message).toContain(part);
}

describe('reading a model file', () => {
  it('returns the spec, names and places of a sound file', async () => {
    const model = await readModelFile(writeModel(tinyLlama()));
    expect(model).toMatchObject({ name: 'Tiny', license: 'mit', quantization: 'Q4_1', chatTemplate: null });
    expect(model.spec).toMatchObject({
      ...{ architecture: 'llama', layers: 1, width: 64, ffnWidth: 96, heads: 2, kvHeads: 1, headWidth: 32 },
      ...{ vocabulary: 8, trainedContext: 128, ropeWidth: 32, activation: 'silu' },
      rope: { base: 10000.5, scaling: 'none', factor: 1, originalContext: 128 },
    });
    const [embedding, , , query] = model.spec.tensors;
    expect(embedding).toMatchObject({ name: 'token_embd.weight', type: 'F32', shape: [64, 8] });
    expect(embedding!.offset % 32).toBe(0);
    expect(query).toMatchObject({ type: 'Q4_1', shape: [64, 64], offset: embedding!.offset + 64 * 8 * 4 + 2 * 64 * 4 });
  });

  it('takes the activation from the file, and down projections stored by neuron', async () => {
    const { spec } = await readModelFile(
      writeModel(
        changed(({ keys, tensors }) => {
          keys['llama.feed_forward_activation'] = 'relu';
          tensors[10] = { name: 'blk.0.ffn_down_t.weight', shape: [64, 96], type: 3 };
        }),
      ),
    );
    expect(spec.activation).toBe('relu');
  });

  it('parses a file once until it changes', async () => {
    const file = writeModel(tinyLlama());
    const first = await readModelFile(file);
    expect(await readModelFile(file)).toBe(first);
    utimesSync(file, new Date(), new Date(statSync(file).mtimeMs + 5000));
    expect(await readModelFile(file)).not.toBe(first);
  });
});

describe('refusing a file that is no model', () => {
  it('names a missing path, and a folder', async () => {
    await expect(readModelFile('/nowhere/x.gguf')).rejects.toMatchObject({ code: 'model-missing' });
    await expect(readModelFile('/nowhere/x.gguf')).rejects.toThrow('/nowhere/x.gguf does not exist');
    const folder = path.join(path.dirname(writeModel(tinyLlama())), 'folder.gguf');
    mkdirSync(folder);
    await expect(readModelFile(folder)).rejects.toThrow('is not a file');
  });

  it('wrong magic, empty and tiny files', async () => {
    await refused(
      changed((content) => (content.magic = 'GGML')),
      'model-not-gguf',
      'start with the letters GGUF',
    );
    await refused(Buffer.alloc(0), 'model-not-gguf');
    await refused(Buffer.from('GG'), 'model-not-gguf');
    await refused(Buffer.from('GGUF\x03\0\0\0'), 'model-truncated');
    await refused(Buffer.from('<html>Not found</html>'), 'model-not-gguf');
  });

  it('other versions and byte orders', async () => {
    await refused(
      changed((content) => (content.version = 1)),
      'model-unsupported',
      'version 1',
    );
    await refused(
      changed((content) => (content.version = 9)),
      'model-unsupported',
      'version 9',
    );
    await refused(
      changed((content) => (content.version = 0x03000000)),
      'model-unsupported',
      'big-endian version 3',
    );
  });
});

describe('refusing hostile headers quickly and in little memory', () => {
  const within = async (content: GgufContent | Buffer, code: ErrorCode, ...says: string[]): Promise<void> => {
    const [start, memory] = [performance.now(), process.memoryUsage().rss];
    await refused(content, code, ...says);
    expect(performance.now() - start).toBeLessThan(2000);
    expect(process.memoryUsage().rss - memory).toBeLessThan(300e6);
  };
  const max = 2n ** 64n - 1n;

  it('huge counts of tensors and keys', async () => {
    await within(
      changed((content) => (content.tensorCount = max)),
      'model-invalid',
      String(max),
    );
    await within(
      changed((content) => (content.keyCount = max)),
      'model-invalid',
      String(max),
    );
    await within(
      changed((content) => (content.tensorCount = 60_000n)),
      'model-invalid',
      '60000 tensors',
    );
  });

  it('huge lists, texts and tensor names', async () => {
    const withKey = (value: GgufContent['keys'][string]): GgufContent =>
      changed(({ keys }) => (keys['general.basename'] = value));
    await within(withKey(hugeList(max)), 'model-invalid', 'damaged');
    await within(withKey(hugeList(900_000n)), 'model-invalid', 'damaged'); // what follows is read as its entries
    await within(withKey(hugeText(max)), 'model-invalid', 'damaged');
    await within(withKey(hugeText(9_000_000n)), 'model-truncated', 'inside the header');
  });

  it('lists within lists without end', async () => {
    const level = Buffer.alloc(12);
    level.writeUInt32LE(9, 0);
    level.writeBigUInt64LE(1n, 4);
    const raw = Buffer.concat(Array.from({ length: 10_000 }, () => level));
    await within(
      changed(({ keys }) => (keys['general.basename'] = { type: 9, raw })),
      'model-invalid',
      'damaged',
    );
  });

  it('a header far larger than any model has', async () => {
    const bytes = ggufBytes(changed((content) => (content.keyCount = 10_000n)));
    const texts = Buffer.alloc(40 * 2 ** 20); // keys '' of value 0, thirteen bytes each, would take this for ever
    await refused(Buffer.concat([bytes, texts]), 'model-invalid');
  });

  it('every cut of the header is called cut off or damaged, never taken', async () => {
    const bytes = ggufBytes(tinyLlama());
    for (let length = 24; length < bytes.length; length += 97) {
      const error = await readModelFile(writeModel(bytes.subarray(0, length))).catch((reason: HunchError) => reason);
      expect(error).toBeInstanceOf(HunchError);
      expect(['model-truncated', 'model-invalid']).toContain((error as HunchError).code);
    }
  });
});

describe('refusing tensors that do not fit', () => {
  it('data cut off: names the tensor, the size needed and the size found', async () => {
    const bytes = ggufBytes(tinyLlama());
    const cut = bytes.length - 100;
    await refused(
      bytes.subarray(0, cut),
      'model-truncated',
      '"blk.0.ffn_down.weight"',
      String(bytes.length),
      String(cut),
    );
  });

  it('offsets beyond the file, also ones that would overflow', async () => {
    const at = (offset: bigint): GgufContent => changed(({ tensors }) => (tensors[1]!.offset = offset));
    await refused(at(2n ** 40n), 'model-truncated', '"output_norm.weight"');
    await refused(at(2n ** 64n - 8n), 'model-truncated', '"output_norm.weight"');
  });

  it('overlapping and repeated tensors', async () => {
    await refused(
      changed(({ tensors }) => (tensors[1]!.offset = 32n)),
      'model-invalid',
      'overlap',
    );
    await refused(
      changed(({ tensors }) => (tensors[1]!.name = 'token_embd.weight')),
      'model-invalid',
      'two tensors named "token_embd.weight"',
    );
  });

  it('shapes whose product would overflow, zero extents, rows of broken blocks', async () => {
    const shape = (extents: (number | bigint)[], type = 0): GgufContent =>
      changed(({ tensors }) => (tensors[1] = { name: 'output_norm.weight', shape: extents, type, offset: 0n }));
    await refused(shape([2n ** 32n, 2n ** 32n, 2n ** 32n]), 'model-truncated');
    await refused(shape([2n ** 63n]), 'model-invalid');
    await refused(shape([0]), 'model-invalid', 'impossible shape');
    await refused(shape([]), 'model-invalid', 'impossible shape');
    await refused(shape([48], 3), 'model-invalid', 'Q4_1 blocks of 32');
  });

  it('types without kernels: names the type and those there are', async () => {
    await refused(
      changed(({ tensors }) => (tensors[3]!.type = 10)),
      'model-unsupported',
      'Q2_K',
      'F32, F16, BF16, Q8_0',
    );
    await refused(
      changed(({ tensors }) => (tensors[3]!.type = 4711)),
      'model-unsupported',
      'type number 4711',
    );
  });

  it('a missing, a mis-shaped and an unknown tensor', async () => {
    await refused(
      changed(({ tensors }) => tensors.splice(4, 1)),
      'model-invalid',
      '"blk.0.attn_k.weight" is missing',
    );
    await refused(
      changed(({ tensors }) => (tensors[4]!.shape = [64, 64])),
      'model-invalid',
      '[64, 64]',
      '[64, 32]',
    );
    await refused(
      changed(({ tensors }) => tensors.push({ name: 'blk.0.ffn_gate.bias', shape: [96] })),
      'model-unsupported',
      '"blk.0.ffn_gate.bias"',
    );
  });
});

describe('refusing keys that contradict', () => {
  const key = (name: string, value: GgufContent['keys'][string] | undefined): GgufContent =>
    changed(({ keys }) => {
      if (value === undefined) delete keys[name];
      else keys[name] = value;
    });

  it('names the key and its value', async () => {
    await refused(key('llama.block_count', undefined), 'model-invalid', '"llama.block_count" is missing');
    await refused(key('llama.block_count', 0), 'model-invalid', '"llama.block_count" is 0');
    await refused(key('llama.block_count', 'many'), 'model-invalid', '"llama.block_count" is "many"');
    await refused(key('llama.block_count', 2n ** 63n), 'model-invalid', '"llama.block_count"');
    await refused(key('llama.attention.head_count_kv', 3), 'model-invalid', '"llama.attention.head_count_kv" is 3');
    await refused(key('llama.attention.layer_norm_rms_epsilon', NaN), 'model-invalid', 'is NaN');
    await refused(key('llama.rope.dimension_count', 33), 'model-invalid', '"llama.rope.dimension_count" is 33');
    await refused(key('llama.feed_forward_activation', 'tanh'), 'model-invalid', '"tanh"', 'silu, gelu, relu');
    await refused(key('tokenizer.ggml.token_type', integers([1])), 'model-invalid', 'a list of 1', 'a list of 8');
    await refused(key('tokenizer.ggml.eos_token_id', 8), 'model-invalid', '"tokenizer.ggml.eos_token_id" is 8');
    await refused(key('general.alignment', 33), 'model-invalid', '"general.alignment" is 33');
  });

  it('architectures and variants that would run wrongly', async () => {
    await refused(key('general.architecture', 'mamba'), 'model-unsupported', '"mamba"', 'llama');
    await refused(key('general.architecture', 'constructor'), 'model-unsupported', '"constructor"');
    await refused(key('llama.expert_count', 8), 'model-unsupported', '8 experts');
    await refused(key('llama.rope.scaling.type', 'longrope'), 'model-unsupported', 'llama', '"longrope"');
    await refused(key('split.count', 3), 'model-unsupported', '3 files');
    await refused(key('tokenizer.ggml.model', undefined), 'model-unsupported', 'no tokenizer');
  });
});

it('a file that cannot be read says so', async () => {
  const file = writeModel(tinyLlama());
  writeFileSync(`${file}.txt`, 'x');
  await expect(readModelFile(path.join(`${file}.txt`, 'inside.gguf'))).rejects.toMatchObject({ code: 'model-missing' });
});
