"""config.data.add_tokens: words at the end of a WordPiece vocabulary."""

import pathlib

import pytest

from bert_jax.data.tokenizers import added_words, tokenizer

PIECES = [*tokenizer.SPECIALS, *'abcdefgh', *(f'##{letter}' for letter in 'abcdefgh'), 'bad']


@pytest.fixture
def vocabulary(tmp_path: pathlib.Path) -> tokenizer.Tokenizer:
    (tmp_path / 'old').mkdir()
    (tmp_path / 'old' / 'vocab.txt').write_text('\n'.join(PIECES) + '\n')
    return tokenizer.load(tmp_path / 'old', lowercase=True)


def test_words_become_tokens_of_their_own(
    vocabulary: tokenizer.Tokenizer, tmp_path: pathlib.Path
) -> None:
    (tmp_path / 'words.txt').write_text('cabbage\n\n faced \ncabbage\n')
    assert added_words.read(' cabbage ,faced') == ['cabbage', 'faced']
    words = added_words.read(str(tmp_path / 'words.txt'))
    assert words == ['cabbage', 'faced']
    pieces = added_words.pieces(vocabulary, words)
    assert [[vocabulary.pieces[i] for i in ids] for ids in pieces][1] == [
        'f',
        *['##a', '##c', '##e', '##d'],
    ]
    added_words.save(vocabulary, words, tmp_path / 'new')
    larger = tokenizer.load(tmp_path / 'new', lowercase=True)
    assert larger.pieces == [*PIECES, *words]
    text = 'Faced, bad cabbage'
    ids = larger.encode_batch([text])[0]
    assert [larger.pieces[i] for i in ids if i >= len(PIECES)] == ['faced', 'cabbage']
    assert not larger.is_continuation[-2:].any()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['bad'], "'bad' is in the vocabulary already"),
        (['Cabbage'], "'Cabbage' has capital letters, but text is lowercased"),
        (['head-ache'], "'head-ache' cannot be one token"),
        (['a bad'], "'a bad' cannot be one token"),
    ],
)
def test_words_that_can_not_be_added(
    vocabulary: tokenizer.Tokenizer, tmp_path: pathlib.Path, words: list[str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        added_words.pieces(vocabulary, words)
        added_words.save(vocabulary, words, tmp_path / 'new')


def test_no_words() -> None:
    with pytest.raises(ValueError, match='add_tokens=,  has no words'):
        added_words.read(', ')
