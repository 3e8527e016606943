"""Texts on which tokenizers are compared with the code of their authors."""

import gzip
import json
import random
import unicodedata

from small_run import QUICK

# Characters that normalizers change: accents apart and in one, ligatures, fractions, wide letters.
ODD = 'aeéE\u0301\u0308ﬁ½２Ａİßς東 \t\u00a0\u3000\u200b\u00ad\ufffd😀'
ODD += '`\'",.-5019가\u1100\u1161ıǄ\u0345'
ASSIGNED = [c for c in map(chr, range(1, 0x30000)) if unicodedata.category(c) not in ('Cn', 'Cs')]
WORDS = ('the', 'The', "it's", 'Paris', '1,000,', '92000,', '$5,000.', 'naïve', '20th', '(a)', '--')


def squad_questions(shared_data):
    """The questions of SQuAD, version 1.1: all, or every tenth one if QUICK is set."""
    files = [shared_data(f'squad/{name}-v1.1.json') for name in ('train', 'dev')]
    questions = [
        question['question']
        for file in files
        for article in json.loads(file.read_text())['data']
        for paragraph in article['paragraphs']
        for question in paragraph['qas']
    ]
    return questions[::10] if QUICK else questions


def wikipedia_leads(shared_data, count):
    """The first `count` lines in English, and as many in French."""
    lines = []
    for language in ('en', 'fr'):
        with gzip.open(shared_data(f'corpora/wikipedia_leads_{language}.txt.gz'), 'rt') as file:
            lines += [line.strip() for _, line in zip(range(count), file, strict=False)]
    return lines


def odd_texts(count):
    """Random texts of unusual characters between ordinary words, the same in every run."""
    rng = random.Random(0)

    def part():
        kind = rng.random()
        if kind < 0.4:
            return rng.choice(WORDS)
        if kind < 0.7:
            return ''.join(rng.choices(ODD, k=rng.randrange(1, 6)))
        return ''.join(rng.choices(ASSIGNED, k=rng.randrange(1, 4)))

    texts = ([part() for _ in range(rng.randrange(12))] for _ in range(count))
    return [rng.choice(('', ' ')).join(parts) for parts in texts]
