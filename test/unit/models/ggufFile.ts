import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** GGUF's value types that the tests write. */
type Value = string | number | boolean | bigint | string[] | { type: number; raw: Buffer };

export interface TensorEntry {
  name: string;
  shape: (number | bigint)[];
  type?: number; // ggml's number; default 0 = F32
  offset?: bigint; // from the start of the data; default: after the one before
}

export interface GgufContent {
  magic?: string;
  version?: number;
  tensorCount?: bigint;
  keyCount?: bigint;
  keys: Record<string, Value>;
  tensors: TensorEntry[];
  /** Length of the data; default: what the tensors need. */
  dataBytes?: number;
}

const u32 = (value: number): Buffer => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};
const u64 = (value: bigint): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(value);
  return buffer;
};
const text = (value: string): Buffer => Buffer.concat([u64(BigInt(Buffer.byteLength(value))), Buffer.from(value)]);

function value(content: Value): Buffer {
  if (typeof content === 'string') return Buffer.concat([u32(8), text(content)]);
  if (typeof content === 'boolean') return Buffer.concat([u32(7), Buffer.from([content ? 1 : 0])]);
  if (typeof content === 'bigint') return Buffer.concat([u32(10), u64(content)]);
  if (typeof content === 'number') {
    if (Number.isInteger(content)) return Buffer.concat([u32(4), u32(content)]);
    const float = Buffer.alloc(4);
    float.writeFloatLE(content);
    return Buffer.concat([u32(6), float]);
  }
  if (Array.isArray(content)) {
    return Buffer.concat([u32(9), u32(8), u64(BigInt(content.length)), ...content.map(text)]);
  }
  return Buffer.concat([u32(content.type), content.raw]);
}

/** An i32 list. */
export function integers(list: number[]): Value {
  return { type: 9, raw: Buffer.concat([u32(5), u64(BigInt(list.length)), ...list.map((item) => u32(item >>> 0))]) };
}

/** A list that announces `length` entries and has none. */
export function hugeList(length: bigint): Value {
  return { type: 9, raw: Buffer.concat([u32(8), u64(length)]) };
}

/** A text that announces `length` bytes and has none. */
export function hugeText(length: bigint): Value {
  return { type: 8, raw: u64(length) };
}

const bytesOf = ({ shape, type = 0 }: TensorEntry): number => {
  const values = shape.reduce<number>((product, extent) => product * Number(extent), 1);
  return type === 3 ? (values / 32) * 20 : type === 1 ? values * 2 : values * 4;
};

export function ggufBytes(content: GgufContent): Buffer {
  const { magic = 'GGUF', version = 3, keys, tensors } = content;
  const header: Buffer[] = [
    Buffer.from(magic, 'latin1'),
    u32(version),
    u64(content.tensorCount ?? BigInt(tensors.length)),
    u64(content.keyCount ?? BigInt(Object.keys(keys).length)),
    ...Object.entries(keys).flatMap(([key, entry]) => [text(key), value(entry)]),
  ];
  let next = 0n;
  for (const tensor of tensors) {
    const offset = tensor.offset ?? next;
    header.push(text(tensor.name), u32(tensor.shape.length), ...tensor.shape.map((extent) => u64(BigInt(extent))));
    header.push(u32(tensor.type ?? 0), u64(offset));
    if (tensor.offset === undefined) next += BigInt(Math.ceil(bytesOf(tensor) / 32) * 32);
  }
  const length = header.reduce((sum, part) => sum + part.length, 0);
  return Buffer.concat([
    ...header,
    Buffer.alloc((32 - (length % 32)) % 32),
    Buffer.alloc(content.dataBytes ?? Number(next)),
  ]);
}

/** A llama model of one layer: width 64, 2 heads, 1 KV head, 96 neurons, byte-level vocabulary of 8 tokens. */
export function tinyLlama(): GgufContent {
  const tokens = ['<|im_start|>', '<|im_end|>', 'a', 'b', 'c', 'ab', 'Ġ', 'abc'];
  const [width, ffn, keyWidth] = [64, 96, 32];
  return {
    keys: {
      'general.architecture': 'llama',
      'general.name': 'Tiny',
      'general.license': 'mit',
      'llama.block_count': 1,
      'llama.context_length': 128,
      'llama.embedding_length': width,
      'llama.feed_forward_length': ffn,
      'llama.attention.head_count': 2,
      'llama.attention.head_count_kv': 1,
      'llama.attention.layer_norm_rms_epsilon': 0.00001,
      'llama.rope.freq_base': 10000.5,
      'tokenizer.ggml.model': 'gpt2',
      'tokenizer.ggml.pre': 'smollm',
      'tokenizer.ggml.tokens': tokens,
      'tokenizer.ggml.token_type': integers([3, 3, 1, 1, 1, 1, 1, 1]),
      'tokenizer.ggml.merges': ['a b', 'ab c'],
      'tokenizer.ggml.eos_token_id': 1,
    },
    tensors: [
      { name: 'token_embd.weight', shape: [width, tokens.length] },
      { name: 'output_norm.weight', shape: [width] },
      { name: 'blk.0.attn_norm.weight', shape: [width] },
      { name: 'blk.0.attn_q.weight', shape: [width, width], type: 3 },
      { name: 'blk.0.attn_k.weight', shape: [width, keyWidth], type: 3 },
      { name: 'blk.0.attn_v.weight', shape: [width, keyWidth], type: 3 },
      { name: 'blk.0.attn_output.weight', shape: [width, width], type: 3 },
      { name: 'blk.0.ffn_norm.weight', shape: [width] },
      { name: 'blk.0.ffn_gate.weight', shape: [width, ffn], type: 3 },
      { name: 'blk.0.ffn_up.weight', shape: [width, ffn], type: 3 },
      { name: 'blk.0.ffn_down.weight', shape: [ffn, width], type: 3 },
    ],
  };
}

/** Writes a file into a folder of its own. */
export function writeModel(content: GgufContent | Buffer, name = 'tiny.gguf'): string {
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'hunch-gguf-')), name);
  writeFileSync(file, Buffer.isBuffer(content) ? content : ggufBytes(content));
  return file;
}
