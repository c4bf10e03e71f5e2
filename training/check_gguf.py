"""Loads a finished GGUF (not a checkpoint) and measures perplexity and density on a few WikiText-2 windows, on the CPU.

usage: check_gguf.py GGUF EVAL_NPZ [windows]
"""
import math
import sys

import gguf
import numpy as np
import torch
import torch.nn.functional as F
from gguf.quants import dequantize

import model as m

m.BF = torch.float32


def main(path, eval_npz, windows=4):
    torch.set_grad_enabled(False)
    tensors = gguf.GGUFReader(path).tensors
    W = {t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).reshape(t.shape[::-1].tolist()).copy()).float() for t in tensors}
    relu = 'blk.0.ffn_down_t.weight' in W
    layers, norms = m.layers_from(W)
    emb = W['token_embd.weight']
    x = torch.from_numpy(np.load(eval_npz)['wiki'][: windows * 512].astype(np.int64)).view(windows, 512)
    density, loss = [], 0.0

    def hook(i, a, gu):
        density.append(float((a > 0).float().mean()))
        return a

    for w in x:
        h = m.forward(w[None], layers, norms, emb, relu, hook)
        loss += float(F.cross_entropy((h @ emb.T)[0, :-1], w[1:])) / windows
    print('perplexity', round(math.exp(loss), 3), 'density', round(sum(density) / len(density), 4) if relu else 'dense')


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
