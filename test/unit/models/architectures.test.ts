import { describe, expect, it } from 'vitest';
import type { ModelSpec } from '../../../electron/engine/addon';
import { readModelFile } from '../../../electron/models/gguf';
import type { GgufContent, TensorEntry } from './ggufFile';
import { tinyLlama, writeModel } from './ggufFile';

type Change = (content: GgufContent) => void;

/** tinyLlama (width 64, 2 heads, 1 KV head, 96 neurons) under another architecture's name, with its own tensors. */
function tiny(architecture: string, ...changes: Change[]): GgufContent {
  const { keys, tensors } = tinyLlama();
  const renamed = Object.entries(keys).map(([key, value]) => [key.replace(/^llama\./, `${architecture}.`), value]);
  const content = { keys: Object.fromEntries(renamed) as GgufContent['keys'], tensors };
  content.keys['general.architecture'] = architecture;
  delete content.keys['tokenizer.ggml.pre'];
  const own: Record<string, [string, number][]> = {
    qwen2: Object.entries({ 'attn_q.bias': 64, 'attn_k.bias': 32, 'attn_v.bias': 32 }),
    qwen3: Object.entries({ 'attn_q_norm.weight': 32, 'attn_k_norm.weight': 32 }),
    gemma3: Object.entries({
      ...{ 'attn_q_norm.weight': 32, 'attn_k_norm.weight': 32 },
      ...{ 'post_attention_norm.weight': 64, 'post_ffw_norm.weight': 64 },
    }),
    opt: Object.entries({
      ...{ 'attn_norm.bias': 64, 'ffn_norm.bias': 64, 'attn_q.bias': 64, 'attn_k.bias': 32, 'attn_v.bias': 32 },
      ...{ 'attn_output.bias': 64, 'ffn_up.bias': 96, 'ffn_down.bias': 64 },
    }),
  };
  for (const [part, length] of own[architecture] ?? []) tensors.push(vector(`blk.0.${part}`, length));
  if (architecture === 'opt') {
    tensors.splice(8, 1); // no gate
    tensors.push(vector('output_norm.bias', 64), { name: 'position_embd.weight', shape: [64, 130] });
  }
  for (const change of changes) change(content);
  return content;
}

const vector = (name: string, length: number): TensorEntry => ({ name, shape: [length] });
const set =
  (values: GgufContent['keys']): Change =>
  ({ keys }) =>
    void Object.assign(keys, values);
const spec = async (content: GgufContent): Promise<ModelSpec> => (await readModelFile(writeModel(content))).spec;
const unsupported = (content: GgufContent, ...says: string[]): Promise<void> =>
  refused(content, 'model-unsupported', says);
const invalid = (content: GgufContent, ...says: string[]): Promise<void> => refused(content, 'model-invalid', says);

async function refused(content: GgufContent, code: string, says: string[]): Promise<void> {
  const error = await spec(content).then(
    () => null,
    (reason: Error) => reason,
  );
  expect(error).toMatchObject({ code });
  for (const part of ['tiny.gguf', ...says]) expect(error!.message).toContain(part);
}

describe('how positions rotate', () => {
  const scaled = (values: Record<string, string | number>): GgufContent =>
    tiny('llama', set(Object.fromEntries(Object.entries(values).map(([key, value]) => [`llama.rope.${key}`, value]))));
  const rope = async (values: Record<string, string | number>): Promise<ModelSpec['rope']> =>
    (await spec(scaled(values))).rope;

  it('takes linear scaling, also where only a factor or its older key says so', async () => {
    const linear = { base: 10000.5, scaling: 'linear', factor: 4, originalContext: 128 };
    expect(await rope({ 'scaling.type': 'linear', 'scaling.factor': 4 })).toEqual(linear);
    expect(await rope({ 'scaling.factor': 4 })).toEqual(linear);
    expect(await rope({ scale_linear: 4 })).toEqual(linear);
  });

  it('takes yarn with its original context', async () => {
    const yarn = { 'scaling.type': 'yarn', 'scaling.factor': 4 };
    expect(await rope({ ...yarn, 'scaling.original_context_length': 32 })).toMatchObject({
      ...{ scaling: 'yarn', factor: 4, originalContext: 32 },
    });
    expect(await rope(yarn)).toMatchObject({ originalContext: 128 });
    expect(await rope({ ...yarn, 'scaling.yarn_beta_fast': 32, 'scaling.yarn_attn_factor': 1.1386294 })).toMatchObject({
      scaling: 'yarn',
    });
  });

  it('scales nothing where the type, the factor or both say so', async () => {
    const unscaled: Record<string, string | number>[] = [
      {},
      { 'scaling.type': 'none', 'scaling.factor': 4 },
      { 'scaling.factor': 0 },
    ];
    for (const values of unscaled) {
      expect(await rope(values)).toMatchObject({ scaling: 'none', factor: 1 });
    }
    expect(await rope({ 'scaling.type': 'yarn', 'scaling.factor': 1 })).toMatchObject({ scaling: 'none' });
  });

  it('refuses kinds and constants that the engine does not have', async () => {
    const yarn = { 'scaling.type': 'yarn', 'scaling.factor': 4 };
    await unsupported(scaled({ 'scaling.type': 'longrope' }), 'llama', '"longrope"');
    await unsupported(scaled({ 'scaling.attn_factor': 1.25 }), 'a factor of 1.25');
    await unsupported(scaled({ ...yarn, 'scaling.yarn_beta_fast': 8 }), 'yarn_beta_fast of 8 in place of 32');
    await unsupported(scaled({ ...yarn, 'scaling.yarn_attn_factor': 1.5 }), 'factor of 1.5 in place of 1.1386');
    await invalid(scaled({ 'scaling.type': 'yarn', 'scaling.factor': 0.5 }), '"llama.rope.scaling.factor" is 0.5');
    await invalid(scaled({ 'scaling.factor': -4.5 }), '"llama.rope.scaling.factor" is -4.5');
  });
});

describe('llama', () => {
  it("takes Llama 3's factors, biases of attention, and Mistral's window for all layers", async () => {
    const change: Change = ({ tensors }) =>
      tensors.push(vector('rope_freqs.weight', 16), vector('blk.0.attn_q.bias', 64), vector('blk.0.attn_k.bias', 32));
    const read = await spec(tiny('llama', change, set({ 'llama.attention.sliding_window': 48 })));
    expect(read.tensors.map(({ name }) => name)).toContain('rope_freqs.weight');
    expect(read.window).toEqual({ positions: 48, pattern: 2, rope: read.rope });
    expect((await spec(tiny('llama'))).window).toBeUndefined();
    await invalid(
      tiny('llama', ({ tensors }) => tensors.push(vector('rope_freqs.weight', 32))),
      '[32]',
      '[16]',
    );
  });
});

describe('qwen2 and qwen3', () => {
  it('take their biases and norms, and miss them', async () => {
    expect(await spec(tiny('qwen2'))).toMatchObject({ architecture: 'qwen2', activation: 'silu', headWidth: 32 });
    expect(await spec(tiny('qwen3'))).toMatchObject({ architecture: 'qwen3', rope: { base: 10000.5 } });
    const without =
      (name: string): Change =>
      (content) => {
        content.tensors = content.tensors.filter((tensor) => tensor.name !== name);
      };
    await invalid(tiny('qwen2', without('blk.0.attn_k.bias')), '"blk.0.attn_k.bias" is missing');
    await invalid(tiny('qwen3', without('blk.0.attn_q_norm.weight')), '"blk.0.attn_q_norm.weight" is missing');
    await unsupported(
      tiny('qwen3', ({ tensors }) => tensors.push(vector('blk.0.attn_q.bias', 64))),
      '"blk.0.attn_q.bias"',
      'qwen3',
    );
  });

  it('refuse mixtures of experts', async () => {
    await unsupported(tiny('qwen2', set({ 'qwen2.expert_count': 60 })), 'qwen2', '60 experts');
    await unsupported(tiny('qwen3moe'), '"qwen3moe"', 'llama, bamboo, qwen2, qwen3, gemma3, opt');
  });
});

describe('gemma3', () => {
  const window = { 'gemma3.attention.sliding_window': 24 };
  const flags = (list: boolean[]): GgufContent['keys'][string] => {
    const head = Buffer.alloc(12);
    head.writeUInt32LE(7, 0); // booleans
    head.writeBigUInt64LE(BigInt(list.length), 4);
    return { type: 9, raw: Buffer.concat([head, Buffer.from(list.map(Number))]) };
  };

  it('reads the window, its pattern and its own rotary base', async () => {
    const usual = { base: 10000, scaling: 'none' };
    const read = await spec(tiny('gemma3', set({ ...window, 'gemma3.rope.scaling.factor': 8 })));
    expect(read).toMatchObject({
      ...{ activation: 'gelu', rope: { base: 10000.5, scaling: 'linear', factor: 8 } },
      ...{ window: { positions: 24, pattern: 6, rope: usual } },
    });
    expect(read.attentionScale).toBeCloseTo(1 / Math.sqrt(32), 12);
    const own = set({ ...window, 'gemma3.rope.freq_base_swa': 5000.5 });
    expect((await spec(tiny('gemma3', own))).window).toMatchObject({ rope: { base: 5000.5 } });
    expect((await spec(tiny('gemma3'))).window).toBeUndefined();
  });

  it('reads the pattern as a number or as one flag for each layer', async () => {
    const pattern = async (value: GgufContent['keys'][string]): Promise<number | undefined> =>
      (await spec(tiny('gemma3', set({ ...window, 'gemma3.attention.sliding_window_pattern': value })))).window
        ?.pattern;
    expect(await pattern(4)).toBe(4);
    expect(await pattern(0)).toBe(2); // no layer of this one-layer model is full
    expect(await pattern(flags([true]))).toBe(2);
    expect(await pattern(flags([false]))).toBe(1);
    await invalid(
      tiny('gemma3', set({ ...window, 'gemma3.attention.sliding_window_pattern': flags([true, false]) })),
      'a list of 2',
      'a list of 1',
    );
  });

  it('refuses an order of windowed layers that has no period', async () => {
    const pattern = { 'gemma3.attention.sliding_window_pattern': flags([true, false, false, true]) };
    await unsupported(tiny('gemma3', set({ ...window, ...pattern, 'gemma3.block_count': 4 })), 'irregular order');
  });

  it('refuses capped logits and yarn', async () => {
    await unsupported(tiny('gemma3', set({ 'gemma3.final_logit_softcapping': 30 })), 'capped at 30');
    const yarn = set({ 'gemma3.rope.scaling.type': 'yarn', 'gemma3.rope.scaling.factor': 4 });
    await unsupported(tiny('gemma3', yarn), '"yarn"');
  });
});

describe('opt', () => {
  it('reads its own norm key, ReLU and the table of positions', async () => {
    const read = await readModelFile(writeModel(tiny('opt', set({ 'opt.attention.layer_norm_epsilon': 0.0001 }))));
    expect(read.spec).toMatchObject({ architecture: 'opt', activation: 'relu', trainedContext: 128 });
    expect(read.spec.normEpsilon).toBeCloseTo(0.0001, 8);
    expect((await spec(tiny('opt'))).normEpsilon).toBe(1e-5);
    expect(read.vocabulary).toMatchObject({ pre: 'gpt-2', addBos: true });
  });

  it('refuses a table without the two rows before position 0, and projected embeddings', async () => {
    await invalid(
      tiny('opt', ({ tensors }) => (tensors.at(-1)!.shape = [64, 128])),
      '[64, 128]',
      '[64, 130]',
    );
    await unsupported(
      tiny('opt', ({ tensors }) => tensors.push({ name: 'project_in.weight', shape: [32, 64] })),
      '"project_in.weight"',
    );
  });
});
