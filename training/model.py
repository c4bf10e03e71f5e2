"""SmolLM2 (llama architecture, GGUF row order: interleaved rotary pairs) in PyTorch; dense SiLU teacher and ReLU student."""
import json

import numpy as np
import torch
import torch.nn.functional as F

from quant import BLOCK_BYTES, fake, pack, unpack

LAYERS, D, FF, HEADS, KV_HEADS, HEAD, VOCAB = 30, 576, 1536, 9, 3, 64, 49152
SHAPES = {'wqkv': (HEADS * HEAD + 2 * KV_HEADS * HEAD, D), 'wo': (D, D), 'wgu': (2 * FF, D), 'wd': (FF, D)}
BF = torch.bfloat16
dev = 'cuda' if torch.cuda.is_available() else 'cpu'


def plan():
    """[(layer, name, bits)] in storage order. Attention gets 5 bits, except in one layer, which keeps the file under 95 MB."""
    attention = [(i, n) for i in range(LAYERS) for n in ('wqkv', 'wo')]
    five = [(i, n, 5) for i, n in attention if i < LAYERS - 1]
    four = [(i, n, 4) for i, n in attention if i == LAYERS - 1]
    return five + four + [(i, n, 4) for i in range(LAYERS) for n in ('wgu', 'wd')]


def size(bits=None):
    return sum(SHAPES[n][0] * SHAPES[n][1] for _, n, b in plan() if bits in (None, b))


def views(flat):
    """flat: one tensor of size() -> per layer {name: matrix view}."""
    out, o = [{} for _ in range(LAYERS)], 0
    for i, n, _ in plan():
        r, c = SHAPES[n]
        out[i][n] = flat[o : o + r * c].view(r, c)
        o += r * c
    return out


def load_raw(folder, names=('w.0', 'w.1')):
    """Tensors exported by export.py -> {GGUF name: float32 tensor on the CPU}."""
    blob = np.concatenate([np.fromfile(f'{folder}/{n}', np.uint8) for n in names])
    out = {}
    for t in json.load(open(f'{folder}/index.json')):
        b = blob[t['off'] : t['off'] + t['n']]
        if t['type'] == 'F32':
            w = b.view(np.float32)
        elif t['type'] == 'Q8_0':
            b = b.reshape(-1, 34)
            w = b[:, :2].copy().view(np.float16).astype(np.float32) * b[:, 2:].view(np.int8)
        elif t['type'] == 'Q4_0':
            w = unpack(b.reshape(-1, 18), 4)
        elif t['type'] == 'Q5_0':
            w = unpack(b.reshape(-1, 22), 5)
        else:  # Q4_1: float16 scale, float16 minimum, 16 bytes, low nibbles first
            b = b.reshape(-1, 20)
            dm = b[:, :4].copy().view(np.float16).astype(np.float32)
            w = np.concatenate([b[:, 4:] & 15, b[:, 4:] >> 4], 1) * dm[:, :1] + dm[:, 1:]
        out[t['name']] = torch.from_numpy(np.ascontiguousarray(w.reshape(t['shape']), np.float32))
    return out


def layers_from(W):
    """{GGUF name: tensor} -> (per-layer dicts, norms [2*LAYERS+1, D]); down is kept neuron-major, [FF, D]."""
    out = []
    for i in range(LAYERS):
        g = lambda n: W[f'blk.{i}.{n}.weight'].to(dev)
        down = g('ffn_down_t') if f'blk.{i}.ffn_down_t.weight' in W else g('ffn_down').T.contiguous()
        out.append(dict(
            wqkv=torch.cat([g('attn_q'), g('attn_k'), g('attn_v')]), wo=g('attn_output'),
            wgu=torch.cat([g('ffn_gate'), g('ffn_up')]), wd=down, n1=g('attn_norm'), n2=g('ffn_norm'),
        ))
    norms = torch.stack([p['n1'] for p in out] + [p['n2'] for p in out] + [W['output_norm.weight'].to(dev)])
    return out, norms


def with_norms(layers, norms):
    return [dict(p, n1=norms[i], n2=norms[LAYERS + i]) for i, p in enumerate(layers)]


def flatten(layers):
    return torch.cat([layers[i][n].reshape(-1) for i, n, _ in plan()])


def quantised(flat, f=fake):
    """Values of the packed form of flat, bfloat16, flat."""
    n5 = size(5)
    return torch.cat([f(flat[:n5].view(-1, 32), 5).view(-1), f(flat[n5:].view(-1, 32), 4).view(-1)])


def save_packed(flat, norms, folder, pieces=4):
    """Packed student in `pieces` files that stay below 16 MiB each, plus norms.npy."""
    n5 = size(5)
    b = [pack(flat[:n5].view(-1, 32), 5)]
    rest = flat[n5:].view(-1, 32)
    b += [pack(rest[o : o + 262144], 4) for o in range(0, len(rest), 262144)]
    blob = np.concatenate([x.cpu().numpy().reshape(-1) for x in b])
    step = -(-len(blob) // pieces)
    for i in range(pieces):
        blob[i * step : (i + 1) * step].tofile(f'{folder}/layers.{i}')
    np.save(f'{folder}/norms.npy', norms.detach().cpu().numpy())


def load_packed(folder, pieces=4):
    """-> flat float32 and norms, on dev."""
    blob = np.concatenate([np.fromfile(f'{folder}/layers.{i}', np.uint8) for i in range(pieces)])
    n5 = size(5) // 32 * BLOCK_BYTES[5]
    flat = np.concatenate([unpack(blob[:n5].reshape(-1, 22), 5).reshape(-1), unpack(blob[n5:].reshape(-1, 18), 4).reshape(-1)])
    return torch.from_numpy(flat).to(dev), torch.from_numpy(np.load(f'{folder}/norms.npy')).to(dev)


def rope_table(n):
    f = 1e5 ** (-torch.arange(0, HEAD, 2, device=dev, dtype=torch.float32) / HEAD)
    a = torch.arange(n, device=dev, dtype=torch.float32)[:, None] * f
    return torch.cos(a), torch.sin(a)


def rms(x, w):
    x = x.float()
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * w


def rope(x, c, s):
    """x: [B, T, heads, HEAD]; c, s: [T, HEAD/2]."""
    B, T, H, _ = x.shape
    x = x.float().view(B, T, H, HEAD // 2, 2)
    c, s = c[None, :, None], s[None, :, None]
    return torch.stack([x[..., 0] * c - x[..., 1] * s, x[..., 0] * s + x[..., 1] * c], -1).view(B, T, H, HEAD).to(BF)


def attention(x, p, c, s):
    B, T, _ = x.shape
    qkv = (rms(x, p['n1']).to(BF) @ p['wqkv'].T).view(B, T, HEADS + 2 * KV_HEADS, HEAD)
    qk = rope(qkv[:, :, : HEADS + KV_HEADS], c, s)
    q, k, v = qk[:, :, :HEADS].transpose(1, 2), qk[:, :, HEADS:].transpose(1, 2), qkv[:, :, HEADS + KV_HEADS :].transpose(1, 2)
    if x.is_cuda:
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    else:
        g = HEADS // KV_HEADS
        o = F.scaled_dot_product_attention(q, k.repeat_interleave(g, 1), v.repeat_interleave(g, 1), is_causal=True)
    return x + o.transpose(1, 2).reshape(B, T, D) @ p['wo'].T


def block(x, p, c, s, student, blend=None):
    """One layer. x: [B, T, D] bfloat16. Returns x, density surrogate, density (both None for the teacher).

    The surrogate mean(sigmoid(g / (0.25 rms(g)))), rms detached, counts active neurons softly: strong gates feel nothing,
    and rescaling gate against up does not fool it. blend in [0, 1) mixes SiLU in while a SiLU model is being turned into ReLU.
    """
    x = attention(x, p, c, s)
    gu = rms(x, p['n2']).to(BF) @ p['wgu'].T
    g, u = gu[..., :FF], gu[..., FF:]
    if not student:
        return x + (F.silu(g) * u) @ p['wd'], None, None
    a = F.relu(g)
    if blend is not None:
        a = (F.silu(g) * (1 - blend) + a * blend).to(BF)
    gf = g.float()
    width = gf.detach().pow(2).mean().sqrt() * 0.25
    surrogate = torch.sigmoid(gf / width).mean()
    density = (gf.detach() > 0).float().mean()
    return x + (a * u) @ p['wd'], surrogate, density


def forward(x, layers, norms, emb, student, hook=None):
    """Eager forward for measuring: x [B, T] ids -> normalised hidden [B, T, D]. hook(layer, activation, gate_up) may replace it."""
    c, s = rope_table(x.shape[1])
    h = emb[x]
    for i, p in enumerate(layers):
        h = attention(h, p, c, s)
        gu = rms(h, p['n2']).to(BF) @ p['wgu'].T
        g, u = gu[..., :FF], gu[..., FF:]
        a = F.relu(g) if student else F.silu(g)
        if hook is not None:
            a = hook(i, a, gu)
        h = h + (a * u) @ p['wd']
    return rms(h, norms[-1]).to(BF)
