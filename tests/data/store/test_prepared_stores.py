"""The content of a prepared store, for texts of every format and files in any order."""

import dataclasses
import gzip
import itertools
import json
import random
import re
import shutil

import pytest
from made_prose import PIECES, content, prose, write_prose

from bert_jax.config import Config, DataConfig
from bert_jax.data.store import checks, format, preparation
from bert_jax.data.tokenizers import tokenizer


def _prepare(tmp_path, vocab, pattern, **options):
    options = {'holdout': 0.0} | options
    data = DataConfig(
        corpus=f'text:{pattern}', cache_dir=str(tmp_path / 'cache'), vocab_file=vocab, **options
    )
    return preparation.prepare(Config(data=data))


def _texts(directory, split):
    """The documents of a split, each as a list of decoded sentences."""
    opened = format.open_store(directory, split)
    vocabulary = tokenizer.load(directory, format.read_meta(directory).lowercase)
    found = []
    for first, last in itertools.pairwise(opened.documents):
        edges = opened.sentences[first : last + 1]
        found.append(
            [vocabulary.decode(opened.tokens[a:b].tolist()) for a, b in itertools.pairwise(edges)]
        )
    return found


@pytest.mark.slow
def test_every_kind_of_bad_input_is_counted_and_named(tmp_path, vocab):
    folder = tmp_path / 'text'
    folder.mkdir()
    (folder / 'a_empty.txt').write_bytes(b'')
    (folder / 'b_blank.txt').write_bytes(b'\n \n\t\n')
    (folder / 'c_invalid.txt').write_bytes(b'Fine here. Still fine.\ncaf\xe9 here.\n')
    (folder / 'd_one.txt').write_text('Only one sentence.')
    (folder / 'e_huge.txt').write_text('Many words in a line. ' * 460_000)
    (folder / 'f_word.txt').write_text('Before it. ' + 'x' * 5_000 + ' after it.')
    (folder / 'g_controls.txt').write_text('Fine.\n\x00\x01\nFine too.\n\n\u200b\n')
    records = [{'text': ''}, {'text': 'Good text. Two of it.'}, {'text': ' \n '}]
    (folder / 'h.jsonl').write_text('\n'.join(map(json.dumps, records)))
    meta = format.read_meta(_prepare(tmp_path, vocab, folder / '*', holdout=0.0))
    summary = meta.summary

    def count(*words):
        (found,) = [n for line, n in summary.items() if all(word in line for word in words)]
        return found

    assert summary['files'] == 8
    assert count('empty files', 'a_empty.txt') == 2
    assert count('invalid UTF-8', 'c_invalid.txt:2') == 1
    assert count('documents of one sentence', 'Only one sentence') == 1
    assert count('lines over', 'Many words') > 0
    assert count('without a token') == 2
    assert count('empty documents', 'h.jsonl:1') == 3
    assert count('[UNK]') > 0
    # Ten megabytes in a line are sentences like any others: none of them is lost.
    tokens = len(tokenizer.WordPiece(PIECES, True).encode_batch(['Many words in a line.'])[0])
    assert 460_000 * tokens <= meta.counts['train'].tokens < 460_000 * tokens + 200
    assert 459_000 < meta.counts['train'].sentences < 461_000


def test_a_corpus_without_a_document_is_one_clear_error(tmp_path, vocab):
    (tmp_path / 'a.txt').write_text('\n\n \n')
    with pytest.raises(ValueError, match=r'has no text to train on.*empty files'):
        _prepare(tmp_path, vocab, tmp_path / 'a.txt')
    with pytest.raises(ValueError, match='no text to train a vocabulary on'):
        _prepare(tmp_path, '', tmp_path / 'a.txt')
    assert not [path for path in (tmp_path / 'cache').iterdir() if path.is_dir()]


@pytest.mark.parametrize('lowercase', [True, False])
def test_every_format_and_mode_gives_the_same_store(tmp_path, vocab, lowercase):
    documents = [['One here. Two here.', 'Three.'], ['Été à Paris. Oui.'], ['Last? Yes!']]
    text = '\n\n'.join('\n'.join(lines) for lines in documents)
    records = '\n'.join(json.dumps({'text': '\n'.join(lines)}) for lines in documents)
    sentences = '\n\n'.join(
        '\n'.join(part for line in lines for part in line.replace('. ', '.\n').split('\n'))
        for lines in documents
    ).replace('? ', '?\n')
    variants = {'a.txt': text, 'a.jsonl': records, 'a.txt.gz': gzip.compress(text.encode())}
    contents = []
    for i, (name, raw) in enumerate({**variants, 'lines.txt': sentences}.items()):
        folder = tmp_path / str(i)
        folder.mkdir()
        raw = raw if isinstance(raw, bytes) else raw.encode()
        (folder / name).write_bytes(raw)
        mode = 'line' if name == 'lines.txt' else 'split'
        contents.append(
            content(_prepare(tmp_path, vocab, folder / '*', sentences=mode, lowercase=lowercase))
        )
    folder = tmp_path / 'files'
    folder.mkdir()
    for i, lines in enumerate(documents):
        (folder / f'{i}.txt').write_text('\n\n'.join(lines))
    contents.append(
        content(_prepare(tmp_path, vocab, folder / '*', documents='file', lowercase=lowercase))
    )
    assert all(found == contents[0] for found in contents)
    assert contents[0][1]['counts']['train']['sentences'] == 7


def test_a_document_stays_on_its_side(tmp_path, vocab):
    documents = list(prose(120_000))
    folder = tmp_path / 'text'
    folder.mkdir()

    def split(texts, names='abc'):
        shutil.rmtree(folder)
        folder.mkdir()
        for i, name in enumerate(names):
            (folder / f'{name}.txt').write_text('\n\n'.join(texts[i :: len(names)]))
        directory = _prepare(tmp_path, vocab, folder / '*', holdout=0.2)
        return [[str(d) for d in _texts(directory, name)] for name in format.SPLITS]

    train, held_out = split(documents)
    assert len(train) + len(held_out) == len(documents)
    assert 0.1 < len(held_out) / len(documents) < 0.3
    shuffled = random.Random(1).sample(documents, len(documents))
    again = split(shuffled, 'zyx')
    assert [sorted(side) for side in again] == [sorted(train), sorted(held_out)]
    # More documents, some of them there before: the old ones stay, copies go where they are.
    more = split(documents + list(prose(60_000, seed=5)) + documents[:50])
    assert set(train) <= set(more[0]) and set(held_out) <= set(more[1])
    assert not set(more[0]) & set(more[1])


def test_the_store_is_made_once_and_anew_where_anything_changed(tmp_path, vocab, capfd):
    path = write_prose(tmp_path / 'a.txt', 20_000)
    first = _prepare(tmp_path, vocab, path)
    marked = (first / 'store.json').stat().st_mtime_ns
    assert f'The prepared corpus is in {first}' in capfd.readouterr().err
    assert _prepare(tmp_path, vocab, path) == first
    assert capfd.readouterr().err == ''
    assert (first / 'store.json').stat().st_mtime_ns == marked
    others = {
        _prepare(tmp_path, vocab, path, **options)
        for options in ({'lowercase': False}, {'holdout': 0.3}, {'sentences': 'line'})
    }
    with path.open('a') as file:
        file.write('One more. Document.\n')
    others.add(_prepare(tmp_path, vocab, path))
    assert len(others) == 4 and first not in others


def test_a_damaged_store_is_not_used(tmp_path, vocab):
    path = write_prose(tmp_path / 'a.txt', 20_000)
    directory = _prepare(tmp_path, vocab, path)
    tokens = directory / 'train' / 'tokens.bin'
    tokens.write_bytes(tokens.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r'tokens\.bin: expected.*remove .*prepare'):
        _prepare(tmp_path, vocab, path)


def test_options_that_a_store_does_not_have_are_said(tmp_path, vocab, capfd):
    directory = _prepare(tmp_path, vocab, write_prose(tmp_path / 'a.txt', 5_000))
    for data, line in (
        (DataConfig(lowercase=False), 'was made with lowercase=True'),
        (DataConfig(language_alpha=0.3), 'language_alpha=0.3 has no effect: .* has one language'),
        (DataConfig(), ''),
    ):
        checks.check_tokens(dataclasses.replace(data, holdout=0.0), directory)
        said = capfd.readouterr().err
        assert re.search(line, said) if line else not said, said


def test_others_may_read_a_store(tmp_path, vocab):
    directory = _prepare(tmp_path, vocab, write_prose(tmp_path / 'a.txt', 5_000))
    (tmp_path / 'folder').mkdir()
    assert directory.stat().st_mode == (tmp_path / 'folder').stat().st_mode
