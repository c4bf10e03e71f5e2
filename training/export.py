"""GGUF -> raw pieces + index.json that a GPU machine reads with numpy alone. usage: export.py GGUF OUT_DIR [skip-embedding]"""
import json
import os
import sys

import gguf


def main(path, out, skip=''):
    os.makedirs(out, exist_ok=True)
    index, blob = [], bytearray()
    for t in gguf.GGUFReader(path).tensors:
        if skip and t.name == 'token_embd.weight':
            continue
        b = t.data.tobytes()
        index.append(dict(name=t.name, type=t.tensor_type.name, shape=[int(x) for x in t.shape][::-1], off=len(blob), n=len(b)))
        blob += b
    half = len(blob) // 2
    open(f'{out}/w.0', 'wb').write(blob[:half])
    open(f'{out}/w.1', 'wb').write(blob[half:])
    json.dump(index, open(f'{out}/index.json', 'w'))
    print(len(index), 'tensors', len(blob), 'bytes')


if __name__ == '__main__':
    main(*sys.argv[1:])
