"""Lines with a masked word: those that a user gives, and held-out ones."""

import dataclasses
import pathlib

import numpy as np

from bert_jax.config import Config, DataConfig
from bert_jax.data.pretraining.example_rows import HELD_OUT, example_rows
from bert_jax.data.store import format
from bert_jax.data.tokenizers import tokenizer

BLANK = '____'
GIVEN = """
The [MASK] of the book.

no mask
two [MASK] and [MASK]
"""


def test_given_and_held_out_lines(prose: pathlib.Path) -> None:
    config = Config(data=DataConfig(examples=GIVEN))
    made = example_rows(prose, config, 32, BLANK)
    vocabulary, mask = made.vocabulary, made.vocabulary.specials.mask
    assert len(made.lines) == 1 + HELD_OUT
    assert made.texts[0] == 'The [MASK] of the book.' and made.answers[0] == ''
    assert made.lines[0] == f'The {BLANK} of the book.'
    arrays = made.arrays
    assert all(array.dtype == np.int32 for array in arrays.values())
    assert {name: array.shape for name, array in arrays.items()} == {
        'input_ids': (6, 32),
        'token_type_ids': (6, 32),
        'attention_mask': (6, 32),
        'position_ids': (6, 32),
        'masked_lm_positions': (6, 1),
    }
    assert (arrays['input_ids'] == mask).sum() == 6
    store = format.open_store(prose, 'eval')
    held_out = vocabulary.decode(store.tokens[format.GUARD : -format.GUARD].tolist())
    for row, (line, answer) in enumerate(zip(made.lines, made.answers, strict=True)):
        size = arrays['attention_mask'][row].sum()
        ids = arrays['input_ids'][row]
        assert ids[arrays['masked_lm_positions'][row, 0]] == mask and line.count(BLANK) == 1
        assert ids[0] == vocabulary.specials.cls and ids[size - 1] == vocabulary.specials.sep
        assert (ids[size:] == vocabulary.specials.pad).all()
        if row:
            assert answer.isalpha() and answer in held_out
    assert len(set(made.lines)) == 6


def test_the_same_lines_in_every_run_and_none_if_there_are_none(prose: pathlib.Path) -> None:
    config = Config()
    assert (
        example_rows(prose, config, 32, BLANK).lines == example_rows(prose, config, 48, BLANK).lines
    )
    long = dataclasses.replace(config, data=DataConfig(examples='word ' * 30 + '[MASK]'))
    made = example_rows(prose, long, 24, BLANK)
    assert all(made.answers), 'the mask of the given line is cut off'


def test_a_vocabulary_without_whole_words(tmp_path: pathlib.Path) -> None:
    import made_stores

    store = made_stores.write(tmp_path / 'store', [[5, 5]] * 4, [[3, 4], [5, 6]])
    made = example_rows(store, Config(), 16, BLANK)
    assert not any('##' in answer for answer in made.answers)
    assert made.arrays['input_ids'].shape == (len(made.lines), 16)
    assert isinstance(made.vocabulary, tokenizer.Tokenizer)
