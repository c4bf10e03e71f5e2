"""Q4_0 and Q5_0 blocks of 32: an encoder that searches the scale, straight-through values, and ggml's byte layout."""
import numpy as np
import torch

# Where the largest weight of a block may land, in 4-bit levels. -8 is ggml's reference choice and comes first, so that weights
# that already lie on such a grid are reproduced exactly (a run can be resumed from packed bytes).
TARGETS = (-8.0, -9.0, -8.5, -7.5, -7.0, 7.0, 7.5, 8.0)
BLOCK_BYTES = {4: 18, 5: 22}


def encode(x, bits):
    """x: [blocks, 32] float32. Returns scale [blocks, 1] (float32 holding a float16 value) and signed levels [blocks, 32].

    Every target is tried, the scale is refitted by least squares, the smallest squared error wins.
    """
    half = 2.0 ** (bits - 1)
    hi, lo = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    m = torch.where(hi > -lo, hi, lo)
    inv = torch.where(m != 0, 1 / m, torch.zeros_like(m))
    best = pick = None
    for t in TARGETS:
        c = t * half / 8
        l = (x * (inv * c)).round().clamp(-half, half - 1)
        score = (x * l).sum(1, keepdim=True).square() / (l * l).sum(1, keepdim=True).clamp(min=1)
        if best is None:
            best, pick = score, torch.full_like(score, c)
        else:
            better = score > best
            best, pick = torch.where(better, score, best), torch.where(better, c, pick)
    l = (x * (inv * pick)).round().clamp(-half, half - 1)
    d = (x * l).sum(1, keepdim=True) / (l * l).sum(1, keepdim=True).clamp(min=1)
    return d.half().float(), l


def fake(x, bits):
    """x: [blocks, 32] float32 -> the values that its packed form stands for, bfloat16."""
    d, l = encode(x, bits)
    return (d * l).to(torch.bfloat16)


def pack(x, bits):
    """x: [blocks, 32] float32 -> uint8 [blocks, BLOCK_BYTES[bits]] in ggml's layout."""
    d, l = encode(x, bits)
    q = (l + 2 ** (bits - 1)).to(torch.int32)
    low = (q[:, :16] & 15) | ((q[:, 16:] & 15) << 4)
    parts = [d.half().view(torch.uint8).view(-1, 2)]
    if bits == 5:
        high = (q >> 4).view(-1, 4, 8) << torch.arange(8, device=x.device, dtype=torch.int32)
        parts.append(high.sum(-1).to(torch.uint8))
    return torch.cat(parts + [low.to(torch.uint8)], 1)


def unpack(b, bits):
    """Inverse of pack, on numpy: uint8 [blocks, BLOCK_BYTES[bits]] -> float32 [blocks, 32]."""
    d = b[:, :2].copy().view(np.float16).astype(np.float32)
    qs = b[:, BLOCK_BYTES[bits] - 16 :]
    q = np.concatenate([qs & 15, qs >> 4], 1).astype(np.int16)
    if bits == 5:
        q |= np.unpackbits(b[:, 2:6], axis=1, bitorder='little').astype(np.int16) << 4
    return d * (q - 2 ** (bits - 1)).astype(np.float32)
