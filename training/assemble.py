"""Packed student + source GGUF (tokenizer, metadata, Q8_0 embedding byte for byte) -> ReLU GGUF, then a check of the file.

usage: assemble.py SOURCE_GGUF PACKED_DIR OUT_GGUF
"""
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf import GGUFValueType as VT

import model as m
from quant import BLOCK_BYTES

TYPE = {4: Q.Q4_0, 5: Q.Q5_0}
SPLIT = {  # our matrices -> GGUF tensors with their rows; down stays neuron-major
    'wqkv': [('attn_q', 576), ('attn_k', 192), ('attn_v', 192)],
    'wo': [('attn_output', 576)],
    'wgu': [('ffn_gate', 1536), ('ffn_up', 1536)],
    'wd': [('ffn_down_t', 1536)],
}
MOSTLY_Q4_0 = 2  # general.file_type


def copy_metadata(source, w):
    own = {'general.architecture', 'general.name', 'general.file_type', 'general.finetune', 'general.basename', 'general.organization', 'general.description'}
    for k, f in source.fields.items():
        if k.startswith('GGUF.') or k in own or k.startswith('general.base_model'):
            continue
        if f.types[0] == VT.ARRAY:
            w.add_array(k, f.contents())
        else:
            w.add_key_value(k, f.contents(), f.types[0])
    w.add_name('SmolLM2 135M Instruct ReLU')
    w.add_string('general.basename', 'smollm2')
    w.add_string('general.finetune', 'instruct-relu')
    w.add_string('general.description', 'ReLU-sparse distillation of SmolLM2-135M-Instruct; down is stored neuron-major as ffn_down_t')
    if 'general.license' not in source.fields:
        w.add_string('general.license', 'apache-2.0')
    w.add_uint32('general.base_model.count', 1)
    w.add_string('general.base_model.0.name', 'SmolLM2 135M Instruct')
    w.add_string('general.base_model.0.organization', 'HuggingFaceTB')
    w.add_file_type(MOSTLY_Q4_0)
    w.add_string('llama.feed_forward_activation', 'relu')


def packed_tensors(folder):
    """-> {GGUF name: (bytes [rows, row bytes], type)}"""
    blob = np.concatenate([np.fromfile(f'{folder}/layers.{i}', np.uint8) for i in range(4)])
    out, o = {}, 0
    for layer, name, bits in m.plan():
        row = m.D // 32 * BLOCK_BYTES[bits]
        for tensor, rows in SPLIT[name]:
            out[f'blk.{layer}.{tensor}.weight'] = (blob[o : o + rows * row].reshape(rows, row), TYPE[bits])
            o += rows * row
    assert o == len(blob), (o, len(blob))
    return out


def main(source_path, folder, out_path):
    source, w = gguf.GGUFReader(source_path), gguf.GGUFWriter(out_path, 'llama')
    copy_metadata(source, w)
    emb = next(t for t in source.tensors if t.name == 'token_embd.weight')
    norms, packed = np.load(f'{folder}/norms.npy').astype(np.float32), packed_tensors(folder)
    w.add_tensor('token_embd.weight', emb.data, raw_dtype=Q.Q8_0)
    w.add_tensor('output_norm.weight', norms[-1])
    for i in range(m.LAYERS):
        order = ['attn_norm', 'attn_q', 'attn_k', 'attn_v', 'attn_output', 'ffn_norm', 'ffn_gate', 'ffn_up', 'ffn_down_t']
        for name in order:
            full = f'blk.{i}.{name}.weight'
            if name == 'attn_norm':
                w.add_tensor(full, norms[i])
            elif name == 'ffn_norm':
                w.add_tensor(full, norms[m.LAYERS + i])
            else:
                data, kind = packed[full]
                w.add_tensor(full, data, raw_dtype=kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    check(source, out_path, packed, emb)


def check(source, path, packed, emb):
    r = gguf.GGUFReader(path)
    t = {x.name: x for x in r.tensors}
    assert t['token_embd.weight'].data.tobytes() == emb.data.tobytes()
    for name, (data, kind) in packed.items():
        assert t[name].data.tobytes() == data.tobytes() and t[name].tensor_type == kind, name
    for k in source.fields:
        if k.startswith('tokenizer.'):
            assert r.fields[k].contents() == source.fields[k].contents(), k
    for k in r.fields:
        if not k.startswith(('tokenizer', 'GGUF')):
            print(k, '=', str(r.fields[k].contents())[:90])
    print(len(r.tensors), 'tensors;', t['blk.0.attn_q.weight'].tensor_type.name, t['blk.0.ffn_down_t.weight'].tensor_type.name)


if __name__ == '__main__':
    main(*sys.argv[1:])
