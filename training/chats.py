"""Prints greedy replies of teacher and student side by side. usage: chats.py GGUF EVALUATION.chats.json OUT.md [count]"""
import json
import sys

import tokenizer
from evaluate import repetition
from evalset import CHATS


def main(gguf, replies, out, count=12):
    t, c = tokenizer.load(gguf), json.load(open(replies))
    lines = ['# Greedy replies, at most 256 tokens\n', 'In brackets: share of repeated 4-grams of that reply.\n']
    for i in range(count):
        lines.append(f'## {CHATS[i]}\n')
        for who in ('teacher', 'student'):
            ids = c[who][i]
            text = t.decode(ids, skip_special_tokens=False).strip()
            lines.append(f'**{who}** ({repetition(ids):.2f})\n\n````text\n{text}\n````\n')
    open(out, 'w').write('\n'.join(lines))


if __name__ == '__main__':
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
