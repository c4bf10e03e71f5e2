"""Builds what a training run reads: wiki.u16, styled.u16 (uint16 tokens), prompts.npz, eval.npz.

usage: data.py GGUF INPUT_DIR OUT_DIR [wiki files] [styled files]; INPUT_DIR holds wiki/ (see README.md), dolly.jsonl,
seed_tasks.jsonl, user_tasks.jsonl and wiki.test.raw.
"""
import glob
import os
import random
import re
import sys

import numpy as np

import tokenizer
from evalset import build_eval
from prompts import Prompts, instruction_seeds

END_OF_TEXT = 0
PROMPT_LEN = 224


def words(text):
    return re.findall(r'[a-z0-9]+', text.lower())


def shingles(text, n=10):
    w = words(text)
    return {hash(tuple(w[i : i + n])) for i in range(0, max(0, len(w) - n))}


def read_docs(files, test_text):
    """(title, text) of articles of 600 characters or more, without those that WikiText-2's test set holds."""
    titles = {''.join(words(t)) for t in re.findall(r'\n = ([^=].*?) = \n', test_text)}
    seen, docs, dropped = shingles(test_text), [], 0
    for f in files:
        for m in re.finditer(r'<doc id="\d+" url="[^"]*" title="([^"]*)">\n(.*?)</doc>', open(f).read(), re.S):
            title, text = m.group(1), m.group(2).strip()
            if len(text) < 600:
                continue
            if ''.join(words(title)) in titles or len(shingles(text[:8000]) & seen) > 3:
                dropped += 1
                continue
            docs.append((title, text))
    print('articles', len(docs), 'dropped because the test set has them', dropped, flush=True)
    return docs


def wikitext_style(title, text):
    """Wikipedia prose in WikiText's tokenised spelling (" , ", " @-@ "), so that the student learns to read that spelling too."""
    out = [f' \n = {title} = \n \n']
    for p in text.split('\n')[1:]:
        p = p.strip()
        if not p:
            continue
        if len(p) < 50 and p.endswith('.'):
            out.append(f' \n = = {p[:-1]} = = \n \n')
            continue
        p = re.sub(r'(?<=\d),(?=\d)', ' @,@ ', p)
        p = re.sub(r'(?<=\d)\.(?=\d)', ' @.@ ', p)
        p = re.sub(r'(?<=\w)-(?=\w)', ' @-@ ', p)
        p = re.sub(r"(?<=\w)['’](?=\w)", " '", p)
        p = re.sub(r'["“”]', ' " ', p)
        p = re.sub(r'([(\[])', r'\1 ', p)
        p = re.sub(r'([)\]])', r' \1', p)
        p = re.sub(r'([,;:?!])(?=\s|$|["\'])', r' \1', p)
        p = re.sub(r'(?<![A-Z.])\.(?=\s+[A-Z"(]|\s*$)', ' .', p)
        p = re.sub(r'([–—])', r' \1 ', p)
        out.append(' ' + re.sub(r' +', ' ', p).strip() + ' \n')
    return ''.join(out)


def encode_docs(t, texts):
    out = []
    for i in range(0, len(texts), 256):
        out += [np.array([END_OF_TEXT] + e.ids, np.uint16) for e in t.encode_batch(texts[i : i + 256], add_special_tokens=False)]
    return np.concatenate(out)


def pack_prompts(t, texts):
    ids = [e.ids for e in t.encode_batch(texts, add_special_tokens=False)]
    ids = [i for i in ids if len(i) <= PROMPT_LEN]
    a = np.zeros((len(ids), PROMPT_LEN), np.uint16)
    for r, i in enumerate(ids):
        a[r, : len(i)] = i
    return a, np.array([len(i) for i in ids], np.uint16)


def main(gguf, src, out, n_wiki=80, n_styled=40, n_prompts=40000):
    os.makedirs(out, exist_ok=True)
    t, rng = tokenizer.load(gguf), random.Random(1)
    test = open(f'{src}/wiki.test.raw').read()
    files = sorted(glob.glob(f'{src}/wiki/*/wiki_*'))
    rng.shuffle(files)
    held = read_docs(files[-4:], test)  # never trained on: development sets
    docs = read_docs(files[:n_wiki], test)
    titles = [x for x, _ in docs if not re.match(r'(List of|\d)', x)]
    passages = [p for _, d in rng.sample(docs, min(8000, len(docs))) for p in d.split('\n') if 250 < len(p) < 800]
    seeds = instruction_seeds(f'{src}/dolly.jsonl', f'{src}/seed_tasks.jsonl', f'{src}/user_tasks.jsonl')
    pr = Prompts(rng, titles, passages, seeds)
    a, n = pack_prompts(t, [pr.first() for _ in range(n_prompts)])
    b, m = pack_prompts(t, [pr.follow_up() for _ in range(n_prompts)])
    np.savez_compressed(f'{out}/prompts.npz', a=a, n=n, b=b, m=m)
    print('prompts', a.shape, b.shape, n.mean(), m.mean(), flush=True)
    np.savez_compressed(f'{out}/eval.npz', **build_eval(t, test, held, rng))
    encode_docs(t, [d for _, d in docs]).tofile(f'{out}/wiki.u16')
    print('wiki tokens', os.path.getsize(f'{out}/wiki.u16') // 2, flush=True)
    styled = read_docs(files[n_wiki : n_wiki + n_styled], test)
    encode_docs(t, [wikitext_style(*d) for d in styled]).tofile(f'{out}/styled.u16')
    print('styled tokens', os.path.getsize(f'{out}/styled.u16') // 2, flush=True)


if __name__ == '__main__':
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
