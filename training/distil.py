"""Teacher sampling, then distillation into a quantised ReLU student under a density controller. One GPU.

usage: distil.py '{"data": DIR, "out": DIR, ...}' (see DEFAULTS). Inputs may arrive late: the run waits for the marker files
data/teacher.ok, data/student.ok and data/text.ok. The packed student is written to out/state every save_s seconds, so a run that is
cut leaves its last state. out/control.json {"train_s": ...} changes the length of the schedule while it runs.
"""
import json
import os
import shutil
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import model as m
from model import BF, D, LAYERS, dev
from quant import fake
from sampling import generate

DEFAULTS = dict(
    data='data', out='out', seed=0, start='student',  # student: data/s (GGUF export); packed: data/packed; teacher: SiLU weights
    gen_s=80, gen_slots=4096, gen_steps=512, gen_temps=[0.7, 1.0, 0.9, 0.5],
    train_s=1200, max_steps=0, mb=32, acc=2, T=1024, lr=8e-4, floor=0.02, hold=0.25, warmup=50, wd=0.01,
    density_high=0.16, density=0.13, ramp=[0.3, 0.55], loglam=-0.3, layer_weight={'0': 0.25, '29': 0.25}, blend=0.0,
    mix={'gen': 0.42, 'own': 0.18, 'wiki': 0.2, 'styled': 0.2}, ce=0.3, cache_tokens=70e6,
    own_at=[0.25, 0.4, 0.55, 0.7], own_temps=[0.7, 0.3, 0.7, 0.3], own_slots=3072, save_s=90, val_s=120, checkpoints=[0.3, 0.6],
    compile=dev == 'cuda', warm=False,
)
A = DEFAULTS | (json.loads(sys.argv[1]) if len(sys.argv) > 1 else {})
T, MB = A['T'], A['mb']
t_start = time.time()
sync = torch.cuda.synchronize if dev == 'cuda' else (lambda: None)
comp = (lambda f: torch.compile(f, dynamic=False)) if A['compile'] else (lambda f: f)


def log(*a):
    print(f'[{time.time() - t_start:6.1f}]', *a, flush=True)


def wait(name):
    path = f'{A["data"]}/{name}.ok'
    if not os.path.exists(path):
        log('waiting for', name)
    while not os.path.exists(path):
        time.sleep(0.2)


block = comp(m.block)
final_norm = comp(lambda x, w: m.rms(x, w).to(BF))
fake_c = comp(fake)


@comp
def head_grad(ls, lt, y, mix):
    """Logits [n, V] of student and teacher, next ids [n, 1], share of the one-hot target [n, 1] -> KL, CE, gradient."""
    a, b = torch.log_softmax(ls.float(), -1), torch.log_softmax(lt.float(), -1)
    pb = b.exp()
    hot = (torch.arange(ls.shape[1], device=ls.device)[None] == y).float()
    return (pb * (b - a)).sum(-1), -(a * hot).sum(-1), (a.exp() - (pb + mix * (hot - pb))).to(BF)


class Head(torch.autograd.Function):
    """Tied frozen head + loss, chunk by chunk; the gradient is made in the forward because the embedding needs none."""

    @staticmethod
    def forward(ctx, hs, ht, y, mix, emb):
        g, kl, ce = torch.empty_like(hs), 0.0, 0.0
        C = 8192 if len(hs) % 8192 == 0 else len(hs)
        for i in range(0, len(hs), C):
            s = slice(i, i + C)
            k, c, d = head_grad(hs[s] @ emb.T, ht[s] @ emb.T, y[s, None], mix[s, None])
            kl, ce = kl + k.sum(), ce + c.sum()
            torch.matmul(d, emb, out=g[s])
        ctx.save_for_backward(g)
        ctx.n = len(hs)
        ce = ce / ctx.n
        ctx.mark_non_differentiable(ce)
        return kl / ctx.n, ce

    @staticmethod
    def backward(ctx, go, _):
        return ctx.saved_tensors[0] * (go / ctx.n), None, None, None, None


class Pool:
    """Rows of one text source, in fixed shuffled blocks of MB rows; the teacher's final hidden states are kept after the first visit."""

    budget = A['cache_tokens']

    def __init__(self, rows, ce, teacher, rng):
        self.rows, self.ce, self.teacher, self.rng = rows[: len(rows) // MB * MB], ce, teacher, rng
        self.n, self.order = len(self.rows) // MB, []
        self.kept = min(self.n, int(Pool.budget // (MB * T)))
        Pool.budget -= self.kept * MB * T
        self.cache = torch.empty(self.kept, MB * T, D, device=dev, dtype=BF)
        self.have = [False] * self.kept

    def next(self):
        if not self.order:
            self.order = list(self.rng.permutation(self.n))
        b = int(self.order.pop())
        x = self.rows[b * MB : (b + 1) * MB].long()
        if b >= self.kept:
            return x, self.teacher(x)
        if not self.have[b]:
            self.cache[b] = self.teacher(x)
            self.have[b] = True
        return x, self.cache[b]


class Student:
    """fp32 masters and their gradients in flat buffers; the layers see bfloat16 leaves that hold the packed format's values."""

    def __init__(self, flat, norms):
        self.master = torch.nn.Parameter(flat.clone())
        self.norms = torch.nn.Parameter(norms.clone())
        self.w, self.g = torch.empty_like(flat, dtype=BF), torch.zeros_like(flat, dtype=BF)
        self.gf, self.gn = torch.empty_like(flat), torch.zeros_like(norms)
        self.layers = [
            {k: self.leaf(v, gv[k]) for k, v in wv.items()} for wv, gv in zip(m.views(self.w), m.views(self.g))
        ]
        self.leaf_norms = [self.leaf(self.norms.data[i], self.gn[i]) for i in range(len(norms))]
        for i, p in enumerate(self.layers):
            p.update(n1=self.leaf_norms[i], n2=self.leaf_norms[LAYERS + i])
        self.master.grad, self.norms.grad = self.gf, self.gn
        self.opt = torch.optim.AdamW(
            [dict(params=[self.master], weight_decay=A['wd']), dict(params=[self.norms], weight_decay=0.0)],
            lr=A['lr'], betas=(0.9, 0.95), fused=dev == 'cuda',
        )
        self.requantise()

    @staticmethod
    def leaf(value, grad):
        x = value.detach().requires_grad_(True)
        x.grad = grad
        return x

    @torch.no_grad()
    def requantise(self, flat=None):
        self.w.copy_(m.quantised(self.master if flat is None else flat, fake_c))

    @torch.no_grad()
    def step(self, lr):
        self.gf.copy_(self.g)
        scale = 1 / torch.sqrt(self.gf.norm() ** 2 + self.gn.norm() ** 2).clamp(min=1.0)
        self.gf.mul_(scale)
        self.gn.mul_(scale)
        for group in self.opt.param_groups:
            group['lr'] = lr
        self.opt.step()
        self.requantise()
        self.g.zero_()
        self.gn.zero_()


def rows_of(path, rng):
    w = np.fromfile(path, np.uint16)
    w = w[: len(w) // T * T].reshape(-1, T)
    return torch.from_numpy(w[rng.permutation(len(w))].astype(np.int32)).to(dev)


def load_bank(path):
    z = np.load(path)
    return {k: torch.from_numpy(z[k].astype(np.int32)).to(dev) for k in z.files}


def sample(layers, norms, emb, bank, slots, temp, seed, rng, student):
    i = torch.from_numpy(rng.choice(len(bank['a']), slots, replace=slots > len(bank['a']))).to(dev)
    o = torch.from_numpy(rng.permutation(len(bank['b']))).to(dev)
    args = bank['a'][i], bank['n'][i], bank['b'][o], bank['m'][o]
    out, share = generate(layers, norms, emb, args, A['gen_steps'], temp, student, seed)
    sync()
    return out, share


def regroup(rows, rng):
    """Sampled rows [n, gen_steps] -> shuffled [*, T]."""
    x = torch.cat(rows)
    x = x[torch.from_numpy(rng.permutation(len(x))).to(dev)].reshape(-1)
    return x[: len(x) // T * T].reshape(-1, T)


def main():
    torch.manual_seed(A['seed'])
    rng = np.random.default_rng(A['seed'])
    torch.set_float32_matmul_precision('high')
    os.makedirs(A['out'], exist_ok=True)
    # ---- teacher
    if A['warm']:
        layers = [{k: torch.randn(s, device=dev) * 0.02 for k, s in m.SHAPES.items()} for _ in range(LAYERS)]
        t_norms, emb = torch.ones(2 * LAYERS + 1, D, device=dev), torch.randn(m.VOCAB, D, device=dev, dtype=BF)
        A['start'], A['max_steps'], A['mix'] = 'teacher', 2, {'gen': 0.5, 'wiki': 0.5}
    else:
        wait('teacher')
        W = m.load_raw(f'{A["data"]}/t')
        layers, t_norms = m.layers_from(W)
        emb = W['token_embd.weight'].to(dev).to(BF)
    TE = [{k: v.to(BF) for k, v in p.items() if k[0] == 'w'} for p in layers]
    TE = m.with_norms(TE, t_norms)
    # ---- sampling
    rows, t0 = [], time.time()
    if A['warm']:
        rows = [torch.randint(0, 49152, (MB * 4, A['gen_steps']), device=dev, dtype=torch.int32)]
    else:
        bank = load_bank(f'{A["data"]}/prompts.npz')
        while not rows or (time.time() - t0) * (1 + 1 / len(rows)) < A['gen_s'] * 1.03:
            r, share = sample(TE, t_norms, emb, bank, A['gen_slots'], A['gen_temps'][len(rows) % len(A['gen_temps'])], len(rows), rng, False)
            rows.append(r)
            log('sampled', sum(x.numel() for x in rows) / 1e6, 'M tokens; sampled share', round(share, 3))
    gen = regroup(rows, rng)
    if dev == 'cuda':
        torch.cuda.empty_cache()
    # ---- student
    if A['start'] == 'teacher':
        flat, norms = m.flatten(layers), t_norms
    else:
        wait('student')
        if A['start'] == 'packed':
            flat, norms = m.load_packed(f'{A["data"]}/packed')
        else:
            s_layers, norms = m.layers_from(m.load_raw(f'{A["data"]}/s'))
            flat = m.flatten(s_layers)
            del s_layers
    del layers
    st = Student(flat, norms)
    del flat
    # ---- pools
    c, s = m.rope_table(T)

    @torch.no_grad()
    def teacher(x):
        h = emb[x]
        for p in TE:
            h = block(h, p, c, s, False)[0]
        return final_norm(h, t_norms[-1]).reshape(-1, D)

    def student(x, blend=None):
        h, su, de = emb[x], [], []
        for p in st.layers:
            h, a, b = block(h, p, c, s, True, blend)
            su.append(a)
            de.append(b)
        return final_norm(h, st.leaf_norms[-1]).reshape(-1, D), torch.stack(su), torch.stack(de)

    if A['warm']:
        text = {'wiki': torch.randint(0, 49152, (MB * 2, T), device=dev, dtype=torch.int32)}
    else:
        wait('text')
        text = {k: rows_of(f'{A["data"]}/{k}.u16', rng) for k in ('wiki', 'styled')}
    text['gen'] = gen
    held = {k: v[:MB] for k, v in text.items()}
    np.save(f'{A["out"]}/gen_held.npy', gen[:MB].cpu().numpy().astype(np.uint16))
    pools = {k: Pool(v[MB:], 0.0 if k == 'gen' else A['ce'], teacher, rng) for k, v in text.items()}
    log('rows', {k: len(v) for k, v in text.items()}, 'cached blocks', {k: v.kept for k, v in pools.items()})
    ones = torch.ones(MB, T, device=dev)
    ones[:, -1] = 0  # the last position of a row has no next token

    def loss_parts(x, ht, ce, blend):
        hs, su, de = student(x, blend)
        kl, cel = Head.apply(hs, ht, x.roll(-1, 1).reshape(-1), (ones * ce).reshape(-1), emb)
        return kl, cel, su, de

    def cross_entropy(h, y, scored):
        tot = 0.0
        for i in range(0, len(y), 8192):
            k = slice(i, i + 8192)
            tot += float(F.cross_entropy((h[k] @ emb.T).float(), y[k], reduction='none')[scored[k]].sum())
        return tot / int(scored.sum())

    @torch.no_grad()
    def validate():
        out = {}
        for k, x in held.items():
            x = x.long()
            ht = teacher(x)
            hs, _, de = student(x)
            y, n = x.roll(-1, 1).reshape(-1), (ones.reshape(-1) > 0)
            kl, _ = Head.apply(hs, ht, y, ones.reshape(-1) * 0, emb)
            out[k] = dict(kl=round(float(kl), 4), ce=round(cross_entropy(hs, y, n), 4), ce_teacher=round(cross_entropy(ht, y, n), 4), density=round(float(de.mean()), 4))
        return out

    def save(name, flat=None, norms=None):
        tmp, dst = f'{A["out"]}/{name}.tmp', f'{A["out"]}/{name}'
        os.makedirs(tmp, exist_ok=True)
        with torch.no_grad():
            m.save_packed(st.master if flat is None else flat, st.norms if norms is None else norms, tmp)
        json.dump(dict(args=A, step=step, tokens=seen, history=hist, validation=vals), open(f'{tmp}/train.json', 'w'))
        shutil.rmtree(dst, ignore_errors=True)
        os.rename(tmp, dst)

    lw = torch.ones(LAYERS, device=dev)
    for k, v in A['layer_weight'].items():
        lw[int(k)] = v
    loglam, lam_clip = torch.tensor(A['loglam'], device=dev), (-6.0, 3.0)
    step = seen = 0
    hist, vals, own_rows, ema, ema_n, dens = [], [], [], None, None, None
    own_at, marks = list(A['own_at']), list(A['checkpoints'])
    names = list(A['mix'])
    t1 = last_save = last_val = time.time()
    train_s = A['train_s']
    while True:
        now = time.time()
        prog = step / A['max_steps'] if A['max_steps'] else (now - t1) / train_s
        if prog >= 1:
            break
        if own_at and prog >= own_at[0] and not A['warm']:
            i = len(A['own_at']) - len(own_at)
            own_at.pop(0)
            if dev == 'cuda':
                torch.cuda.empty_cache()
            r, share = sample(st.layers, st.norms, emb, bank, A['own_slots'], A['own_temps'][i], 100 + i, rng, True)
            own_rows.append(r)
            Pool.budget += pools['own'].kept * MB * T if 'own' in pools else 0
            pools['own'] = Pool(regroup(own_rows, rng), 0.0, teacher, rng)
            if dev == 'cuda':
                torch.cuda.empty_cache()
            log('own text', sum(x.numel() for x in own_rows) / 1e6, 'M tokens', round(time.time() - now, 1), 's')
        lr = A['lr'] * min(1, (step + 1) / A['warmup']) * max(A['floor'], 1 - max(0, prog - A['hold']) / (1 - A['hold']))
        r0, r1 = A['ramp']
        f = min(1, max(0, (prog - r0) / (r1 - r0)))
        target = A['density_high'] ** (1 - f) * A['density'] ** f
        blend = torch.tensor(prog / A['blend'], device=dev) if prog < A['blend'] else None
        acc = torch.zeros(4, device=dev)
        layer_density = 0
        for _ in range(A['acc']):
            k = names[rng.choice(len(names), p=np.array(list(A['mix'].values())) / sum(A['mix'].values()))]
            pool = pools.get(k, pools['gen'])
            x, ht = pool.next()
            kl, ce, su, de = loss_parts(x, ht, pool.ce, blend)
            sur = (su * lw).mean()
            ((kl + loglam.exp() * sur) / A['acc']).backward()
            acc += torch.stack([kl, ce, sur, de.mean()]).detach() / A['acc']
            layer_density = layer_density + de.detach() / A['acc']
        st.step(lr)
        step += 1
        seen += MB * T * A['acc']
        dens = acc[3] if dens is None else dens.lerp(acc[3], 0.1)
        loglam = (loglam + 0.02 * (dens / target).log().clamp(-0.5, 0.5)).clamp(*lam_clip)
        if prog > 0.8 and step % 4 == 0:
            if ema is None:
                ema, ema_n = st.master.detach().clone(), st.norms.detach().clone()
            ema.lerp_(st.master.detach(), 0.03)
            ema_n.lerp_(st.norms.detach(), 0.03)
        if step <= 3 or step % 50 == 0:
            a = [round(float(v), 4) for v in acc]
            hist.append([step, seen, round(prog, 4), lr, target, round(float(loglam.exp()), 4)] + a)
            log(f'step {step} prog {prog:.3f} tok {seen / 1e6:.1f}M lr {lr:.1e} kl/ce/sur/dens {a} tgt {target:.3f} lam {float(loglam.exp()):.3f} {seen / (time.time() - t1) / 1e3:.0f}k tok/s')
            if os.path.exists(f'{A["out"]}/control.json'):
                train_s = json.load(open(f'{A["out"]}/control.json')).get('train_s', train_s)
        if now - last_val > A['val_s']:
            last_val = now
            vals.append([step, seen, validate()])
            log('VAL', vals[-1], 'layers', [round(float(v), 3) for v in layer_density])
        if now - last_save > A['save_s']:
            last_save = now
            save('state')
        if marks and prog >= marks[0]:
            save(f'at{int(marks.pop(0) * 100)}')
    if A['warm']:
        validate()
        sync()
        return log('WARM')
    v = validate()
    vals.append([step, seen, v])
    log('FINAL', v, 'layers', [round(float(x), 3) for x in layer_density])
    flat, norms = None, None
    if ema is not None:
        raw_norms = st.norms.detach().clone()
        st.requantise(ema)
        st.norms.data.copy_(ema_n)
        e = validate()
        log('EMA', e)
        total = lambda z: sum(x['kl'] for x in z.values())
        if total(e) < total(v):
            flat, norms = ema, ema_n
            vals.append([step, seen, e])
        st.norms.data.copy_(raw_norms)
    save('final', flat, norms)
    log('DONE')


if __name__ == '__main__':
    main()
