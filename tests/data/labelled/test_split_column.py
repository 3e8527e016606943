from typing import Any

import pytest

from bert_jax.data.labelled import split_column
from bert_jax.data.labelled.examples import Example


def rows(*values: Any) -> list[Example]:
    return [
        Example(str(i), None, None, f'a.csv:{i + 2}', {} if value == 'none' else {'split': value})
        for i, value in enumerate(values)
    ]


def test_the_parts_are_in_the_order_of_the_file() -> None:
    found = split_column.parts(rows('Train', 'val', 'test', ' train ', 'dev'), 'split')
    texts = {split: [example.text for example in part] for split, part in found.items()}
    assert texts == {'train': ['0', '3'], 'dev': ['1', '4'], 'test': ['2']}


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        (('train', 'fold 1'), "a.csv:3 has 'fold 1' in 'split'; expected one of train, training, "),
        (('train', ''), "a.csv:3 has '' in 'split'"),
        (('train', 1), "a.csv:3 has 1 in 'split'"),
        (('train', 'none'), "a.csv:3 has no column 'split'"),
        (('dev', 'test'), "no row has 'train' in the column 'split'"),
    ],
)
def test_what_is_not_a_split_is_refused(values: tuple, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_column.parts(rows(*values), 'split')
