"""Tokens that a folder adds to its vocabulary are found in text, as transformers does it."""

import json
import pathlib
from typing import Any

import pytest
from test_hf_tokenizer_families import TEXTS, made, write

from bert_jax.convert import hf_tokenizer
from bert_jax.data.tokenizers import tokenizer
from bert_jax.data.tokenizers.added_tokens import AddedToken, WithAddedTokens
from bert_jax.data.tokenizers.tokenizer import Tokenizer

# A word, a word that is a prefix of it, a marker of entities, a token with white space.
ADDED = ['covid19x', 'covid19', '[E1]', '<user name>']
KINDS = {
    'wordpiece': 'bert',
    'byte_bpe': 'roberta',
    'sentencepiece': 'albert',
    'xlm_roberta': 'xlm-roberta',
    'camembert': 'camembert',
    'tokenizer_json': 'modernbert',
    'xlm_bpe': 'xlm',
    'flaubert_bpe': 'flaubert',
}
# In these kinds, transformers keeps the white space beside a token as one more token.
SENTENCES = [
    *TEXTS,
    'The quick covid19x foxes, [E1] dogs.',
    'the [E1]lazy covid19 [E1] [E1]',
    '<user name> jump over <user name>!',
    'acovid19xb and covid19x.',
]


def read(folder: pathlib.Path, rows: int, model_type: str) -> tuple[Tokenizer, str]:
    vocabulary, notes = hf_tokenizer.read(folder, None, rows, model_type)
    assert vocabulary is not None
    return vocabulary, ' '.join(notes)


@pytest.mark.parametrize('kind', KINDS)
def test_every_kind_of_vocabulary(tmp_path: pathlib.Path, kind: str) -> None:
    """Without tokenizer.json, the tokens are in added_tokens.json, as old versions write them."""
    plain, folder = made(kind), tmp_path / 'out'
    write(folder, plain, KINDS[kind])
    ids = {token: plain.vocab_size + i for i, token in enumerate(ADDED)}
    (folder / 'added_tokens.json').write_text(json.dumps(ids))
    rows = plain.vocab_size + len(ADDED)
    found, notes = read(folder, rows, KINDS[kind])
    assert '4 added tokens are found in text' in notes
    assert found.pieces == [*plain.pieces, *ADDED] and found.specials == plain.specials
    for text in SENTENCES:
        mine, spans = found.encode_offsets([text])[0]
        assert mine == found.encode_batch([text])[0] and len(spans) == len(mine)
        for i, (start, end) in zip(mine, spans, strict=True):
            assert i < plain.vocab_size or text[start:end] == found.pieces[i]
        assert [i in mine for i in ids.values()] == [
            token in text.replace('covid19x', '' if token == 'covid19' else 'covid19x')
            for token in ADDED
        ]
    assert found.encode_batch(TEXTS) == plain.encode_batch(TEXTS)
    assert 'covid19x' in found.decode(found.encode_batch(['the covid19x fox'])[0])
    assert found.word_starts(__import__('numpy').array([5, ids['covid19x']])).tolist()[1]
    (tmp_path / 'saved').mkdir()
    found.save(tmp_path / 'saved')
    again = tokenizer.load(tmp_path / 'saved')
    assert again.encode_batch(SENTENCES) == found.encode_batch(SENTENCES)
    assert again.files == found.files and again.pieces == found.pieces
    with pytest.raises(ValueError, match=r"adds '.*', but the table of embeddings has \d+ rows"):
        read(folder, rows - 1, KINDS[kind]) if kind != 'tokenizer_json' else read_more(folder, rows)


def read_more(folder: pathlib.Path, rows: int) -> None:
    (folder / 'added_tokens.json').write_text(json.dumps({'x y z': rows}))
    (folder / 'special_tokens_map.json').write_text('{"additional_special_tokens": ["u v"]}')
    read(folder, rows - 4, 'modernbert')


@pytest.mark.slow
@pytest.mark.parametrize('kind', KINDS)
def test_transformers_finds_the_same(tmp_path: pathlib.Path, kind: str) -> None:
    """The tokenizer that transformers writes with more tokens is read, and ours is written."""
    transformers = pytest.importorskip('transformers')
    plain = made(kind)
    write(tmp_path / 'out', plain, KINDS[kind])
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / 'out'))
    theirs.add_tokens(ADDED[:2])
    theirs.add_special_tokens({'additional_special_tokens': ADDED[2:]})
    theirs.save_pretrained(tmp_path / 'more')
    (tmp_path / 'more/config.json').write_text(json.dumps({'model_type': KINDS[kind]}))
    rows = max(theirs.get_vocab().values()) + 1
    found, _ = read(tmp_path / 'more', rows, KINDS[kind])
    assert found.vocab_size == rows
    texts = SENTENCES[len(TEXTS) :]
    expected = [theirs.encode(text, add_special_tokens=False) for text in texts]
    assert found.encode_batch(texts) == expected


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['wordpiece', 'byte_bpe', 'xlm_bpe'])
def test_transformers_reads_them(tmp_path: pathlib.Path, kind: str) -> None:
    transformers = pytest.importorskip('transformers')
    more = [AddedToken('covid19x', normalized=True), AddedToken('[E1]'), AddedToken('<user name>')]
    vocabulary = WithAddedTokens(made(kind), more)
    write(tmp_path / 'out', vocabulary, KINDS[kind])
    theirs = transformers.AutoTokenizer.from_pretrained(str(tmp_path / 'out'))
    texts = [text for text in SENTENCES if 'covid19 ' not in text]
    expected = [theirs.encode(text, add_special_tokens=False) for text in texts]
    assert vocabulary.encode_batch(texts) == expected
    back, _ = read(tmp_path / 'out', vocabulary.vocab_size, KINDS[kind])
    assert back.encode_batch(texts) == expected


@pytest.mark.parametrize(
    ('token', 'text', 'found'),
    [
        (AddedToken('ab'), 'AB ab xaby', 2),
        (AddedToken('ab', normalized=True), 'AB ab xaby', 3),
        (AddedToken('ab', single_word=True), 'AB ab xaby', 1),
        (AddedToken('ab', lstrip=True, rstrip=True), 'x  ab  y', 1),
    ],
)
def test_flags(token: Any, text: str, found: int) -> None:
    """The library `tokenizers` finds the same tokens."""
    plain = made('wordpiece')
    ids = WithAddedTokens(plain, [token]).encode_batch([text])[0]
    assert ids.count(plain.vocab_size) == found
    library = __import__('tokenizers')
    values = {key: getattr(token, key) for key in hf_tokenizer.hf_added_tokens.FLAGS}
    theirs = library.Tokenizer.from_str(plain.model.to_str())  # type: ignore[attr-defined]
    theirs.add_tokens([library.AddedToken(token.content, **values)])
    assert theirs.encode(text, add_special_tokens=False).ids == ids
