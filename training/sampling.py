"""Batched sampler for teacher and student text."""
import torch
import torch.nn.functional as F

from model import BF, D, FF, HEAD, HEADS, KV_HEADS, LAYERS, dev, rope_table

END_OF_TURN = 2


@torch.no_grad()
def generate(layers, norms, emb, bank, steps, temp=0.95, student=False, seed=0, greedy=False, chat=False):
    """bank = (first prompts [B, P], their lengths [B], follow-ups [N, P], lengths [N]), ids on dev.

    Prompt tokens are fed one by one. A slot that ends its turn gets its next follow-up; with chat=True it just goes on (the caller
    cuts at the end of the turn). A large B hides the launch cost of eager kernels. Returns tokens [B, steps] int32 and the share of
    sampled (not prompt) positions.
    """
    first, n_first, follow, n_follow = bank
    B, gen = len(first), torch.Generator(device=dev).manual_seed(seed)
    nb = norms.to(BF)
    K = torch.zeros(LAYERS, B, KV_HEADS, steps, HEAD, device=dev, dtype=BF)
    V = torch.zeros_like(K)
    cos, sin = rope_table(steps)
    cur, clen = first.clone(), n_first.clone()
    ptr = torch.ones(B, dtype=torch.long, device=dev)
    nextp = torch.arange(B, device=dev) % len(follow)
    out = torch.zeros(B, steps, dtype=torch.int32, device=dev)
    tok, sampled = cur[:, 0].long(), torch.zeros((), device=dev)
    for t in range(steps):
        out[:, t] = tok
        x = emb[tok]
        for i, p in enumerate(layers):
            qkv = (F.rms_norm(x, (D,), nb[i], 1e-5) @ p['wqkv'].T).view(B, HEADS + 2 * KV_HEADS, HEAD)
            r = qkv[:, : HEADS + KV_HEADS].float().view(B, HEADS + KV_HEADS, HEAD // 2, 2)
            a, b = r[..., 0], r[..., 1]
            r = torch.stack([a * cos[t] - b * sin[t], a * sin[t] + b * cos[t]], -1).view(B, HEADS + KV_HEADS, HEAD).to(BF)
            K[i, :, :, t], V[i, :, :, t] = r[:, HEADS:], qkv[:, HEADS + KV_HEADS :]
            q = r[:, :HEADS].reshape(B, KV_HEADS, HEADS // KV_HEADS, HEAD)
            o = F.scaled_dot_product_attention(q, K[i, :, :, : t + 1], V[i, :, :, : t + 1])
            x = x + o.reshape(B, D) @ p['wo'].T
            gu = F.rms_norm(x, (D,), nb[LAYERS + i], 1e-5) @ p['wgu'].T
            g, u = gu[:, :FF], gu[:, FF:]
            x = x + ((F.relu(g) if student else F.silu(g)) * u) @ p['wd']
        logits = F.rms_norm(x, (D,), nb[-1], 1e-5) @ emb.T
        if greedy:
            pick = logits.argmax(-1)
        else:  # Gumbel-max: exact sampling without a softmax
            noise = torch.empty_like(logits, dtype=torch.float32).exponential_(generator=gen).log_()
            pick = noise.neg_().add_(logits, alpha=1 / temp).argmax(-1)
        forced = ptr < clen
        sampled += (~forced).float().mean() / steps
        tok = torch.where(forced, cur.gather(1, ptr.clamp(max=cur.shape[1] - 1)[:, None])[:, 0].long(), pick)
        ptr = ptr + 1
        if not chat:
            done = (~forced) & (tok == END_OF_TURN)
            cur = torch.where(done[:, None], follow[nextp], cur)
            clen = torch.where(done, n_follow[nextp], clen)
            ptr = torch.where(done, torch.zeros_like(ptr), ptr)
            nextp = torch.where(done, (nextp + B) % len(follow), nextp)
    return out, float(sampled)
