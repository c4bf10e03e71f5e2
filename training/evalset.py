"""Development sets: WikiText-2 test tokens, chat prompts for greedy replies, and two multiple-choice sets from held-out articles.

usage: evalset.py GGUF EVAL_NPZ OUT_DIR writes the multiple-choice sets as JSONL for `hunch eval`.
"""
import json
import re
import sys

import numpy as np

import tokenizer
from prompts import SYSTEM, Prompts

# The first dozen are printed side by side; all are used for the repetition rate. None is a training template filled in.
CHATS = '''What is the capital of France?|Explain how photosynthesis works in two sentences.|Write a short poem about the sea.|Give me three tips for better sleep.|Write a Python function that adds two numbers.|Who was Albert Einstein?|I feel nervous about my job interview tomorrow. Any advice?|What is the difference between a virus and a bacterium?|Tell me a short story about a lost puppy.|Hello! What can you do?|Why is the sky blue?|Write an email asking my boss for a day off.
How do airplanes stay in the air?|Name three kinds of renewable energy and describe each in a sentence.|What happened in the year 1969?|Write a limerick about a clumsy wizard.|How do I boil an egg?|My laptop will not turn on. What should I try?|Explain recursion with an example.|What are the primary colors?|Write a birthday message for my grandmother.|What is 17 plus 25?|If a shirt costs 20 dollars and is 25 percent off, what do I pay?|List five animals that live in the desert.|Who wrote Romeo and Juliet?|Summarize the plot of Cinderella.|How can I keep my houseplants alive?|What is a mortgage?|Give me a simple workout for beginners.|What is the largest planet in the solar system?|How does a refrigerator keep food cold?|Write a function in JavaScript that returns the larger of two numbers.|Suggest three names for a coffee shop.|What should I pack for a camping trip?|Explain the rules of chess briefly.|Is it safe to eat raw mushrooms?|Write two sentences using the word "river".|Describe the taste of a lemon.|How do I remove a coffee stain from a shirt?|What are the benefits of walking every day?|Tell me something interesting about octopuses.|How far is the moon?|Write a short apology to a friend.|What is the meaning of the word "serendipity"?|Plan a simple dinner for four people.|Why do we have leap years?|What is an algorithm?|Give me a riddle.'''.replace('\n', '|').split('|')


def sentences(text):
    return [s for s in re.split(r'(?<=[.!?]) ', text) if 40 < len(s) < 220]


def next_sentence(docs, rng, count):
    """Four sentences of the same article; which one follows the two given ones?"""
    out = []
    for _, text in rng.sample(docs, len(docs)):
        paragraphs = [sentences(p) for p in text.split('\n')[1:]]
        paragraphs = [s for s in paragraphs if len(s) >= 3]
        rest = [s for p in paragraphs[1:] for s in p]
        if not paragraphs or len(rest) < 6:
            continue
        p = paragraphs[0]
        choices = [p[2]] + rng.sample(rest, 3)
        order = rng.sample(range(4), 4)
        out.append((p[0] + ' ' + p[1], [' ' + choices[o] for o in order], order.index(0)))
        if len(out) == count:
            return out
    return out


def title_of(docs, rng, count):
    """A chat question: which of four titles does the opening of an article describe?"""
    out, titles = [], [t for t, _ in docs if 3 < len(t) < 40]
    for title, text in rng.sample(docs, len(docs)):
        p = next((p for p in text.split('\n')[1:] if 150 < len(p) < 600), None)
        if p is None or title not in titles or title.lower() not in p.lower():
            continue
        p = re.sub(re.escape(title), 'it', p, flags=re.I)
        choices = [title] + rng.sample([t for t in titles if t != title], 3)
        order = rng.sample(range(4), 4)
        q = SYSTEM + Prompts.turn(f'{p}\n\nWhat is this text about?') + 'This text is about'
        out.append((q, [' ' + choices[o] for o in order], order.index(0)))
        if len(out) == count:
            return out
    return out


def arithmetic(rng, count):
    """Small sums asked in chat, four candidate answers."""
    out = []
    for i in range(count):
        a, b = rng.randint(2, 60), rng.randint(2, 30)
        op, ans = rng.choice([('+', a + b), ('-', a - b), ('times', a * b)])
        wrong = set()
        while len(wrong) < 3:
            w = ans + rng.choice([-20, -10, -3, -2, -1, 1, 2, 3, 10, 20])
            if w != ans:
                wrong.add(w)
        choices = [ans] + sorted(wrong)
        order = rng.sample(range(4), 4)
        q = SYSTEM + Prompts.turn(f'What is {a} {op} {b}?') + f'{a} {op} {b} ='
        out.append((q, [f' {choices[o]}' for o in order], order.index(0)))
    return out


def pack_choices(t, items, length=320):
    """rows [items*4, length] uint16; meta: item, choice, gold, first scored position, end, characters of the choice."""
    rows, meta = [], []
    enc = lambda s: t.encode(s, add_special_tokens=False).ids
    for i, (ctx, choices, gold) in enumerate(items):
        c = enc(ctx)
        e = [enc(x) for x in choices]
        if len(c) + max(map(len, e)) > length:
            continue
        for k, x in enumerate(e):
            r = np.zeros(length, np.uint16)
            r[: len(c) + len(x)] = c + x
            rows.append(r)
            meta.append((i, k, gold, len(c), len(c) + len(x), len(choices[k])))
    return np.stack(rows), np.array(meta, np.int32)


def build_eval(t, test_text, held, rng):
    out = {'wiki': np.array(t.encode(test_text, add_special_tokens=False).ids, np.uint16)}
    plain = np.concatenate([np.array([0] + t.encode(d, add_special_tokens=False).ids, np.uint16) for _, d in held[:200]])
    out['held'] = plain[:131072]
    sets = {'next_sentence': next_sentence(held, rng, 800), 'title': title_of(held, rng, 500), 'arithmetic': arithmetic(rng, 500)}
    for name, items in sets.items():
        out[name + '_x'], out[name + '_m'] = pack_choices(t, items)
    x, n = np.zeros((len(CHATS), 128), np.uint16), np.zeros(len(CHATS), np.int32)
    for i, q in enumerate(CHATS):
        s = t.encode(SYSTEM + Prompts.turn(q), add_special_tokens=False).ids
        x[i, : len(s)], n[i] = s, len(s)
    out['chat_x'], out['chat_n'] = x, n
    print({k: v.shape for k, v in out.items()}, flush=True)
    return out


def write_jsonl(gguf, eval_npz, out):
    """The multiple-choice sets as files for `hunch eval`: one {"query", "choices", "gold"} a line."""
    t, ev = tokenizer.load(gguf), np.load(eval_npz)
    text = lambda ids: t.decode(ids.tolist(), skip_special_tokens=False)
    for name in ('next_sentence', 'title', 'arithmetic'):
        rows, meta = ev[name + '_x'], ev[name + '_m']
        with open(f'{out}/{name}.jsonl', 'w') as f:
            for r in range(0, len(meta), 4):
                b = int(meta[r, 3])
                choices = [text(rows[r + k, b : int(meta[r + k, 4])]) for k in range(4)]
                f.write(json.dumps(dict(query=text(rows[r, :b]), choices=choices, gold=int(meta[r, 2]))) + '\n')


if __name__ == '__main__':
    write_jsonl(*sys.argv[1:])
