"""Measures teacher and students with one code. usage: evaluate.py DATA OUT_JSON NAME=PACKED_DIR ... [--full NAME]

For every student: perplexity, KL, density, greedy chats with their repetition rate. For the --full one (and the teacher) also the
multiple-choice sets; for it a sweep of extra gate thresholds. A PACKED_DIR that ends in /s is read as a GGUF export instead.
"""
import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import model as m
from model import BF, D, FF, LAYERS, dev
from sampling import END_OF_TURN, generate

torch.set_grad_enabled(False)
t0 = time.time()
CHAT_TOKENS = 256


def repetition(ids, n=4):
    """Share of n-grams of one reply that occurred before in it. ids: list of tokens, cut at the end of the turn."""
    g = [tuple(ids[i : i + n]) for i in range(len(ids) - n + 1)]
    return 1 - len(set(g)) / len(g) if g else 0.0


class Net:
    def __init__(self, layers, norms, student):
        self.layers, self.norms, self.student = m.with_norms(layers, norms), norms, student

    def hidden(self, x, emb, hook=None):
        return m.forward(x, self.layers, self.norms, emb, self.student, hook)


class Bench:
    def __init__(self, data, rows=None):
        W = m.load_raw(f'{data}/t')
        layers, norms = m.layers_from(W)
        self.emb = W['token_embd.weight'].to(dev).to(BF)
        self.teacher = Net([{k: v.to(BF) for k, v in p.items() if k[0] == 'w'} for p in layers], norms, False)
        self.ev, self.rows, self.data = np.load(f'{data}/eval.npz'), rows, data

    def student(self, folder):
        if folder.endswith('/s'):  # GGUF export: already on its grid, not re-encoded
            layers, norms = m.layers_from(m.load_raw(folder))
            return Net([{k: v.to(BF) for k, v in p.items() if k[0] == 'w'} for p in layers], norms, True)
        flat, norms = m.load_packed(folder)
        return Net(m.views(flat.to(BF)), norms, True)

    def windows(self, name, ctx=512):
        w = torch.from_numpy(self.ev[name].astype(np.int64)).to(dev)
        return w[: len(w) // ctx * ctx].view(-1, ctx)[: self.rows]

    def ppl(self, net, x, hook=None):
        """Non-overlapping windows without BOS, every position after the first scored."""
        tot = cnt = 0
        for i in range(0, len(x), 32):
            h = net.hidden(x[i : i + 32], self.emb, hook)[:, :-1].reshape(-1, D)
            y = x[i : i + 32, 1:].reshape(-1)
            for j in range(0, len(y), 8192):
                tot += float(F.cross_entropy((h[j : j + 8192] @ self.emb.T).float(), y[j : j + 8192], reduction='sum'))
            cnt += y.numel()
        return round(math.exp(tot / cnt), 3)

    def kl(self, net, x):
        tot = cnt = 0
        for i in range(0, len(x), 8):
            a, b = (q.hidden(x[i : i + 8], self.emb).reshape(-1, D) for q in (net, self.teacher))
            for j in range(0, len(a), 4096):
                la, lb = (F.log_softmax((z[j : j + 4096] @ self.emb.T).float(), -1) for z in (a, b))
                tot += float((lb.exp() * (lb - la)).sum())
            cnt += len(a)
        return round(tot / cnt, 4)

    def density(self, net, x, keep=None):
        """Mean share of active neurons per layer; keep: mask [B, T] of the positions that count."""
        out = torch.zeros(LAYERS, dtype=torch.float64, device=dev)
        n = 0
        for i in range(0, len(x), 32):
            k = torch.ones_like(x[i : i + 32], dtype=torch.bool) if keep is None else keep[i : i + 32]

            def hook(layer, a, gu):
                out[layer] += (a[k] > 0).double().mean(-1).sum()
                return a

            net.hidden(x[i : i + 32], self.emb, hook)
            n += int(k.sum())
        d = (out / n).tolist()
        return dict(mean=round(sum(d) / LAYERS, 4), per_layer=[round(v, 4) for v in d])

    def choices(self, net):
        """Accuracy in per cent: the choice with the highest log-probability per character."""
        out = {}
        for name in ('next_sentence', 'title', 'arithmetic'):
            x, meta = torch.from_numpy(self.ev[name + '_x'].astype(np.int64)).to(dev), self.ev[name + '_m']
            if self.rows:
                x, meta = x[: 4 * self.rows], meta[: 4 * self.rows]
            lp = np.zeros(len(meta))
            for i in range(0, len(x), 64):
                mt = meta[i : i + 64]
                xb = x[i : i + 64, : int(mt[:, 4].max())]
                h = net.hidden(xb, self.emb)
                pos = torch.arange(xb.shape[1], device=dev)[None]
                b, e = (torch.from_numpy(mt[:, k].astype(np.int64)).to(dev)[:, None] for k in (3, 4))
                mask = (pos >= b - 1) & (pos < e - 1)
                l = F.log_softmax((h[mask] @ self.emb.T).float(), -1).gather(1, xb.roll(-1, 1)[mask][:, None])[:, 0]
                s = torch.zeros(len(xb), device=dev).index_add_(0, mask.nonzero()[:, 0], l)
                lp[i : i + 64] = s.cpu().numpy() / mt[:, 5]
            items = {}
            for r in range(len(meta)):
                items.setdefault(meta[r, 0], []).append((lp[r], meta[r, 1] == meta[r, 2]))
            out[name] = round(100 * float(np.mean([max(v)[1] for v in items.values()])), 1)
        out['mean'] = round(sum(out.values()) / len(out), 2)
        return out

    def chats(self, net):
        """Greedy replies, at most CHAT_TOKENS. Returns summary, replies (ids), full rows and the mask of reply positions."""
        x = torch.from_numpy(self.ev['chat_x'].astype(np.int32)).to(dev)[: self.rows]
        n = torch.from_numpy(self.ev['chat_n']).long().to(dev)[: self.rows]
        steps = int(n.max()) + CHAT_TOKENS
        out, _ = generate(net.layers, net.norms, self.emb, (x, n, x, n), steps, student=net.student, greedy=True, chat=True)
        rows, lens, replies = out.long(), n.tolist(), []
        keep = torch.zeros(rows.shape, dtype=torch.bool, device=dev)
        for r, l in enumerate(lens):
            ids = rows[r, l : l + CHAT_TOKENS].tolist()
            ids = ids[: ids.index(END_OF_TURN)] if END_OF_TURN in ids else ids
            replies.append(ids)
            keep[r, l : l + len(ids)] = True
        rep = [repetition(i) for i in replies]
        s = dict(repeated_4grams=round(float(np.mean(rep)), 4), looping=round(float(np.mean([v > 0.5 for v in rep])), 4),
                 unfinished=round(float(np.mean([len(i) == CHAT_TOKENS for i in replies])), 4), mean_tokens=round(float(np.mean([len(i) for i in replies])), 1))
        return s, replies, rows, keep

    def thresholds(self, net, x):
        """FATReLU: zero gates below alpha x the layer's mean positive gate."""
        mean, out = {}, []

        def calibrate(i, a, gu):
            mean[i] = float(a[a > 0].float().mean())
            return a

        net.hidden(x[:8], self.emb, calibrate)
        for alpha in (0, 0.05, 0.1, 0.2, 0.3, 0.5):
            d = []

            def cut(i, a, gu):
                a = a * (a > alpha * mean[i])
                d.append(float((a > 0).float().mean()))
                return a

            out.append(dict(alpha=alpha, ppl=self.ppl(net, x, cut), density=round(sum(d) / len(d), 4)))
        return out


def main(data, dst, students, full, rows=None):
    B, R = Bench(data, rows), {'students': {}}

    def put(k, v, where=R):
        where[k] = v
        json.dump(R, open(dst, 'w'), indent=1)
        print(f'[{time.time() - t0:5.1f}]', k, json.dumps(v)[:400], flush=True)

    wiki, held = B.windows('wiki'), B.windows('held')
    try:
        gen = torch.from_numpy(np.load(f'{data}/gen_held.npy').astype(np.int64)).to(dev)[: rows]
    except FileNotFoundError:
        gen = None
    put('teacher', dict(ppl_wikitext2=B.ppl(B.teacher, wiki), ppl_held_wikipedia=B.ppl(B.teacher, held)))
    ts, t_replies, _, _ = B.chats(B.teacher)
    put('chat', ts, R['teacher'])
    put('choices', B.choices(B.teacher), R['teacher'])
    for name, folder in students.items():
        while not os.path.exists(f'{folder}/norms.npy') and not folder.endswith('/s'):
            time.sleep(0.2)  # started before the training run has ended
        S, r = B.student(folder), {}
        r.update(ppl_wikitext2=B.ppl(S, wiki), ppl_held_wikipedia=B.ppl(S, held), density_wikitext2=B.density(S, wiki[:64]))
        if gen is not None:
            r.update(kl_chat=B.kl(S, gen[:16]), density_chat_text=B.density(S, gen))
        r['kl_wikitext2'] = B.kl(S, wiki[:32])
        put(name, r, R['students'])
        s, replies, cr, keep = B.chats(S)
        r.update(chat=s, density_own_chat=B.density(S, cr, keep))
        if name == full:
            put(name, r, R['students'])
            r.update(choices=B.choices(S), gate_threshold=B.thresholds(S, wiki[:128]))
            json.dump(dict(teacher=t_replies, student=replies), open(dst.replace('.json', '.chats.json'), 'w'))
        put(name, r, R['students'])


if __name__ == '__main__':
    args = sys.argv[1:]
    full = args[args.index('--full') + 1] if '--full' in args else None
    pairs = dict(a.split('=') for a in args[2:] if '=' in a)
    main(args[0], args[1], pairs, full)
