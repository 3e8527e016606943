import dataclasses
import itertools
import os
import random
import re

import numpy as np
import pytest

from bert_jax.config import Config, DataConfig, ModelConfig
from bert_jax.data.store import checks, format, preparation, unknown_text
from bert_jax.data.summary import Summary
from bert_jax.data.text import readers
from bert_jax.data.tokenizers import tokenizer

WORDS = ['time', 'year', 'people', 'way', 'day', 'man', 'thing', 'woman', 'life', 'child']


def sentence(rng):
    return ' '.join(rng.choice(WORDS) for _ in range(rng.randint(3, 12))).capitalize() + '.'


def document(i):
    rng = random.Random(i)
    lines = [' '.join(sentence(rng) for _ in range(rng.randint(1, 3))) for _ in range(4)]
    return f'Document number {i}.\n' + '\n'.join(lines)


def corpus(path, numbers):
    path.write_text('\n\n'.join(map(document, numbers)))
    return f'text:{path}'


def config(tmp_path, name, vocab_size=200, **options):
    data = DataConfig(corpus=name, cache_dir=str(tmp_path / 'cache'), **{'holdout': 0.2} | options)
    return Config(data=data, model=ModelConfig(vocab_size=vocab_size))


def documents(directory, split):
    """The text of a store's documents, in order."""
    lowercase = format.read_meta(directory).lowercase
    vocabulary, found = tokenizer.load(directory, lowercase), format.open_store(directory, split)
    starts = found.sentences[found.documents]
    return [
        vocabulary.decode(found.tokens[start:end].tolist())
        for start, end in itertools.pairwise(starts)
    ]


def test_every_document_is_in_one_split_in_order(tmp_path):
    directory = preparation.prepare(config(tmp_path, corpus(tmp_path / 'a.txt', range(300))))
    train, held_out = documents(directory, 'train'), documents(directory, 'eval')
    everything = [' '.join(document(i).lower().replace('.', ' .').split()) for i in range(300)]
    assert sorted([*train, *held_out]) == sorted(text.replace(' .', '.') for text in everything)
    place = {text.replace(' .', '.'): i for i, text in enumerate(everything)}
    for split in (train, held_out):
        assert [place[text] for text in split] == sorted(place[text] for text in split)
    assert 35 < len(held_out) < 90  # 60 expected, standard deviation 7
    meta = format.read_meta(directory)
    sentences = sum(count.sentences for count in meta.counts.values())
    assert sentences == sum(text.count('.') for text in everything)
    tokens = format.open_store(directory, 'train').tokens[format.GUARD : -format.GUARD]
    share = np.unique(tokens, return_counts=True)[1] / len(tokens)
    assert meta.unigram_entropy == pytest.approx(-(share * np.log(share)).sum())


def test_what_determines_a_store_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(unknown_text, 'REFUSED', 1.0)  # the vocabulary has few of the words
    name = corpus(tmp_path / 'a.txt', range(50))
    (tmp_path / 'vocab.txt').write_text('\n'.join([*tokenizer.SPECIALS, *'abc.']) + '\n')
    wanted = config(tmp_path, name, vocab_size=300)
    changes = [
        {'lowercase': False},
        {'documents': 'file', 'holdout': 0.0},
        {'sentences': 'line'},
        {'language': 'de'},
        {'holdout': 0.3},
        {'strip_accents': 'false'},
        {'tokenizer': 'byte_bpe'},
        {'vocab_file': str(tmp_path / 'vocab.txt')},
    ]
    found = {
        preparation.prepare(wanted),
        preparation.prepare(config(tmp_path, name, vocab_size=150)),
    }
    for change in changes:
        data = dataclasses.replace(wanted.data, **change)
        found.add(preparation.prepare(dataclasses.replace(wanted, data=data)))
    stat = (tmp_path / 'a.txt').stat()
    os.utime(tmp_path / 'a.txt', ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    found.add(preparation.prepare(wanted))
    (tmp_path / 'vocab.txt').write_text('\n'.join([*tokenizer.SPECIALS, *'abcd.']) + '\n')
    data = dataclasses.replace(wanted.data, vocab_file=str(tmp_path / 'vocab.txt'))
    found.add(preparation.prepare(dataclasses.replace(wanted, data=data)))
    assert len(found) == 2 + len(changes) + 2
    # Options that only affect how batches are made do not change the store.
    data = dataclasses.replace(wanted.data, seed=7, whole_word_masking=True)
    assert preparation.prepare(dataclasses.replace(wanted, data=data)) in found


@pytest.mark.parametrize(
    'files, options, message',
    [
        ({}, {}, 'no file matches'),
        (
            {'a.txt': b'Some text.'},
            {'tokenizer': 'byte_bpe', 'strip_accents': 'true'},
            'strip_accents is True, .*byte_bpe .*it is always False',
        ),
        (
            {'a.txt': b'Some text.'},
            {'tokenizer': 'xlm_bpe', 'language': 'zh'},
            "language is 'zh', for which XLM needs other programs than Moses",
        ),
        ({'a.txt': b''}, {}, 'no text to train a vocabulary on'),
        ({'a.txt': b' \n\n\t\n'}, {}, 'no text to train a vocabulary on'),
        (
            {'a.txt': b'Some text.'},
            {'holdout': 0.999999},
            r'has 1 document\..*holds out 1 .*needs 4 different ones',
        ),
        ({'a.txt': b'', 'v.txt': b'a\nb'}, {'vocab_file': 'v.txt'}, 'has no special token'),
        ({'a.txt': b'Some text.'}, {'vocab_file': 'no.txt'}, 'vocabulary .* does not exist'),
        (
            {'a.txt': b'Some text.'},
            {'language': 'English', 'holdout': 0.0},
            'expected an ISO 639 code',
        ),
    ],
)
def test_mistakes_leave_nothing_behind(tmp_path, files, options, message):
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    if 'vocab_file' in options:
        options = options | {'vocab_file': str(tmp_path / options['vocab_file'])}
    with pytest.raises(ValueError, match=message):
        preparation.prepare(config(tmp_path, f'text:{tmp_path}/a.txt', **options))
    cache = tmp_path / 'cache'
    assert not cache.exists() or [p for p in cache.iterdir() if p.is_dir()] == []


@pytest.mark.parametrize('holdout', [0.02, 0.97])
def test_too_few_documents_are_refused_at_the_start(tmp_path, holdout, monkeypatch):
    """The message names a holdout that works."""
    name = corpus(tmp_path / 'a.txt', range(12))
    wanted = config(tmp_path, name, holdout=holdout)
    monkeypatch.setattr(tokenizer, 'train', None)  # not reached
    with pytest.raises(ValueError, match=r'12 documents\. .* Set config\.data\.holdout') as raised:
        preparation.prepare(wanted)
    monkeypatch.undo()
    share = float(re.search(r'\(--holdout\) to (\S+),', str(raised.value))[1])
    data = dataclasses.replace(wanted.data, holdout=share)
    meta = format.read_meta(preparation.prepare(dataclasses.replace(wanted, data=data)))
    assert meta.counts['eval'].documents == 2 and meta.counts['train'].documents == 10


def test_documents_without_two_tokens_are_refused_before_the_store_is_there(tmp_path):
    (tmp_path / 'a.txt').write_text('\n\n'.join('abcdefghijklmnopqrstuvwxyz'))
    with pytest.raises(ValueError, match=r'2 documents of two tokens.* train has 0'):
        preparation.prepare(config(tmp_path, f'text:{tmp_path}/a.txt', holdout=0.5))
    assert not [path for path in (tmp_path / 'cache').iterdir() if path.is_dir()]


def test_the_vocabulary_is_trained_on_a_spread_of_a_large_corpus(tmp_path, monkeypatch):
    parts = [['early'] * 40, ['middle'] * 40, ['late'] * 40]
    texts = [f'{word} {i} ' + word * 3 for words in parts for i, word in enumerate(words)]
    (tmp_path / 'a.txt').write_text('\n\n'.join(texts))
    source = readers.source(DataConfig(corpus=f'text:{tmp_path}/a.txt'))
    monkeypatch.setattr(preparation, 'VOCAB_CHARS', source.characters // 4)
    seen = []
    monkeypatch.setattr(tokenizer, 'train', lambda texts, *_: seen.extend(texts))
    summary = Summary()
    preparation.Preparation(DataConfig(), source, 100)._train_vocabulary(summary)
    assert {text.split()[0] for text in seen} == {'early', 'middle', 'late'}
    assert len(seen) == 30
    (count,) = summary.lines().values()
    assert count == sum(map(len, seen))


@pytest.mark.parametrize('short', [5, 60])
def test_many_short_documents_are_reported(tmp_path, capsys, short):
    headings = [f'Time {i}.' for i in range(short)]
    (tmp_path / 'a.txt').write_text('\n\n'.join([*headings, *map(document, range(100))]))
    preparation.prepare(config(tmp_path, f'text:{tmp_path / "a.txt"}'))
    reported = (
        f'documents of fewer than 12 tokens, which fill few rows: {short} of'
        in capsys.readouterr().err
    )
    assert reported == (short == 60)


@pytest.mark.slow
def test_builtin(tmp_path):
    directory = preparation.prepare(config(tmp_path, 'builtin', vocab_size=4096, holdout=0.02))
    meta = format.read_meta(directory)
    assert meta.vocab_size == 4096 and meta.counts['train'].tokens > 300_000
    assert meta.counts['eval'].documents > 5
    assert 5 < meta.unigram_entropy < 7  # log(4096) is 8.3: a model has something to learn
    tokens = format.open_store(directory, 'train').tokens
    assert (tokens == tokenizer.load(directory).specials.unk).sum() < 1e-3 * len(tokens)


def test_a_prepared_store_says_what_it_overrules(tmp_path, monkeypatch):
    name = corpus(tmp_path / 'a.txt', range(50))
    wanted = config(tmp_path, name, holdout=0.1)
    there = f'tokens:{preparation.prepare(wanted)}'
    said = []
    monkeypatch.setattr(checks, 'say', said.append)
    data = dataclasses.replace(wanted.data, corpus=there)
    preparation.prepare(dataclasses.replace(wanted, data=data))
    assert said == []
    other = dataclasses.replace(data, holdout=0.5, language='de')
    preparation.prepare(dataclasses.replace(wanted, data=other))
    assert len(said) == 1 and said[0].endswith('was made with language=en, holdout=0.1')
    other = dataclasses.replace(data, vocab_file='vocab.txt')
    with pytest.raises(ValueError, match='vocabulary of its own; remove the key'):
        preparation.prepare(dataclasses.replace(wanted, data=other))


def test_a_store_keeps_its_name_until_its_ids_change(tmp_path, monkeypatch):
    """New rules for commas in SentencePiece change those stores, and no others."""
    monkeypatch.setattr(unknown_text, 'REFUSED', 1.0)  # the vocabulary has few of the words
    name = corpus(tmp_path / 'a.txt', range(50))
    (tmp_path / 'vocab.txt').write_text('\n'.join([*tokenizer.SPECIALS, *'abc.']) + '\n')
    wanted = config(tmp_path, name, vocab_file=str(tmp_path / 'vocab.txt'))
    plan = preparation.Preparation(wanted.data, readers.source(wanted.data), 200)
    assert set(plan.made_from['vocabulary']) == {'vocab.txt'}
    monkeypatch.setattr(tokenizer.WordPiece, 'revision', 2)
    again = preparation.Preparation(wanted.data, readers.source(wanted.data), 200)
    assert again.made_from['vocabulary'] == plan.made_from['vocabulary'] | {'revision': 2}
    assert again.name != plan.name
    first, second = (preparation.prepare(wanted) for _ in range(2))
    monkeypatch.undo()
    monkeypatch.setattr(unknown_text, 'REFUSED', 1.0)
    assert first == second != (old := preparation.prepare(wanted))
    assert format.read_meta(first).fingerprint == format.read_meta(old).fingerprint


@pytest.mark.parametrize('kind', tokenizer.TRAINERS)
def test_every_kind_of_vocabulary_is_trained_and_kept(tmp_path, kind):
    if kind.endswith(('xlm_bpe', 'flaubert_bpe')):
        pytest.importorskip('sacremoses')
    name = corpus(tmp_path / 'a.txt', range(100))
    wanted = config(tmp_path, name, vocab_size=300, tokenizer=kind, lowercase=False)
    directory = preparation.prepare(wanted)
    vocabulary = tokenizer.load(directory, lowercase=False)
    assert vocabulary.kind == kind
    meta = format.read_meta(directory)
    assert (meta.vocab_size, meta.lowercase) == (vocabulary.vocab_size, False)
    found = documents(directory, 'train')
    written = {''.join(document(i).split()) for i in range(100)}
    assert len(found) > 50 and {''.join(text.split()) for text in found} <= written
    # Now the vocabulary is read from its files.
    again = config(tmp_path, name, vocab_file=str(directory), lowercase=False)
    fingerprint = format.read_meta(preparation.prepare(again)).fingerprint
    assert fingerprint == meta.fingerprint
