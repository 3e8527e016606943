"""config.data.add_tokens: words at the end of a vocabulary of any kind."""

import io
import pathlib

import numpy as np
import pytest
import sentencepiece

from bert_jax.data.tokenizers import (
    added_words,
    fairseq_sentencepiece,
    tokenizer,
    tokenizer_json,
    word_bpe,
)
from bert_jax.data.tokenizers.added_tokens import AddedToken, WithAddedTokens
from bert_jax.data.tokenizers.base import Tokenizer

PIECES = [*tokenizer.SPECIALS, *'abcdefgh', *(f'##{letter}' for letter in 'abcdefgh'), 'bad']
TEXTS = ['the cab had a bad face', 'a bead and a cage, faced by a (bag)', 'add the edge'] * 20
TEXTS += ['banana bandana cabbages', 'abcdefghijklmnopqrstuvwxyz ,.()']
KINDS = tuple(tokenizer.KINDS)
SIZES = {'wordpiece': 55, 'byte_bpe': 275, 'sentencepiece': 50, 'tokenizer_json': 275}
WORDS = ['cabbage', 'faced', 'banana', 'gagababa']


def made(kind: str, folder: pathlib.Path) -> Tokenizer:
    """A small vocabulary of a kind, loaded from a folder."""
    if kind in word_bpe.KINDS:
        pytest.importorskip('sacremoses')
    size = SIZES.get(kind, 90)
    if kind in fairseq_sentencepiece.FIRST:
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=40, minloglevel=2
        )
        trained = fairseq_sentencepiece.FairseqSentencePiece(model.getvalue(), kind)
    elif kind in ('tokenizer_json', 'added_tokens'):
        trained = tokenizer.train(TEXTS, 275, True, 'byte_bpe')
        content = trained.model.to_str()  # type: ignore[attr-defined]
        trained = tokenizer_json.JsonTokenizer(content.encode())
        if kind == 'added_tokens':
            trained = WithAddedTokens(trained, [AddedToken('[E1]')])
    else:
        trained = tokenizer.train(TEXTS, size, True, kind)
    trained.save(folder)
    return tokenizer.load(folder, lowercase=True)


@pytest.mark.parametrize('kind', KINDS)
def test_words_become_tokens_of_their_own(kind: str, tmp_path: pathlib.Path) -> None:
    vocabulary = made(kind, tmp_path / 'old')
    words = [word for word in WORDS if len(vocabulary.encode_words([word])[0]) > 1]
    assert len(words) > 2
    added_words.larger(vocabulary, words).save(tmp_path / 'new')
    larger = tokenizer.load(tmp_path / 'new', lowercase=True)
    size = vocabulary.vocab_size
    assert larger.pieces[:size] == vocabulary.pieces and larger.specials == vocabulary.specials
    former = added_words.former(vocabulary, larger)
    assert list(former) == list(range(size, larger.vocab_size)) and len(former) >= len(words)
    # The pieces of a new token spell it.
    for i, ids in former.items():
        spelled = ''.join(vocabulary.decode([i]) for i in ids).replace(' ', '')
        whole = larger.decode([i]).replace(' ', '')
        assert len(ids) > 1 and spelled.replace('##', '') == whole
    for word in words:
        for text in (word, f'the {word}', f'the bad ({word}), and {word}'):
            [ids] = larger.encode_batch([text])
            new = [i for i in ids if i >= size]
            assert len(new) == text.count(word), (text, [larger.pieces[i] for i in ids])
            assert word in larger.decode(new)
            [(again, spans)] = larger.encode_offsets([text])
            assert again == ids
            assert {text[a:b] for i, (a, b) in zip(ids, spans, strict=True) if i >= size} == {word}
        ids = np.array(larger.encode_batch([f'the {word}'])[0])
        assert larger.word_starts(ids)[-1] and ids[-1] >= size
    # Words that do not contain a new token keep their ids.
    plain = ['the bad bag', 'add the edge']
    assert larger.encode_batch(plain) == vocabulary.encode_batch(plain)


@pytest.fixture
def vocabulary(tmp_path: pathlib.Path) -> Tokenizer:
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'vocab.txt').write_text('\n'.join(PIECES) + '\n')
    return tokenizer.load(tmp_path / 'old', lowercase=True)


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['bad', 'cab'], "one is in the vocabulary already: 'bad'; leave them out"),
        (['bad', 'a'], "2 are in the vocabulary already: 'bad', 'a'; leave them out"),
        (['Cabbage'], "one is written with capital letters, but text is lowercased: 'Cabbage'"),
        (['Bad'], "capital letters, but text is lowercased: 'Bad'"),
        (['[MASK]'], r"special tokens of the vocabulary: '\[MASK\]'"),
        (['head-ache'], "several tokens in any vocabulary, .* punctuation.*: 'head-ache'"),
        (['a bad', '中文'], "several tokens in any vocabulary, .*: 'a bad', '中文'"),
    ],
)
def test_words_that_can_not_be_added(vocabulary: Tokenizer, words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        added_words.larger(vocabulary, words)


def test_what_the_key_names(tmp_path: pathlib.Path) -> None:
    (tmp_path / 'words.txt').write_text('cabbage\n\n faced \ncabbage\n')
    assert added_words.read(' cabbage ,faced') == ['cabbage', 'faced']
    assert added_words.read(str(tmp_path / 'words.txt')) == ['cabbage', 'faced']
    (tmp_path / 'utf16.txt').write_text('cabbage', 'utf-16')
    with pytest.raises(ValueError, match='is not UTF-8'):
        added_words.read(str(tmp_path / 'utf16.txt'))
    for missing in ('words.txt', 'folder/words'):
        with pytest.raises(ValueError, match=f'add_tokens: there is no file {missing}'):
            added_words.read(missing)
    with pytest.raises(ValueError, match='add_tokens=,  has no words'):
        added_words.read(', ')
