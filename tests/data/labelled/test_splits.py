"""The examples that are held out if there is no file to evaluate on, and splits by a column."""

import collections
from typing import Any

import numpy as np
import pytest

from bert_jax.data.labelled import splits
from bert_jax.data.labelled.examples import Example


def made(count: int, labels: tuple[str, ...]) -> tuple[list[str], list[str]]:
    return [f'text number {i}' for i in range(count)], [
        labels[i * i % 7 % len(labels)] for i in range(count)
    ]


@pytest.mark.parametrize('labels', [('',), ('a', 'b'), ('a', 'b', 'c', 'd', 'e')])
@pytest.mark.parametrize('count', [30, 500, 5000])
def test_a_tenth_of_each_label(count: int, labels: tuple[str, ...]) -> None:
    texts, names = made(count, labels)
    chosen = splits.held_out(texts, names, 'a.csv')
    assert abs(chosen.sum() - count / 10) <= 1
    for label in set(names):
        of_label = np.array(names) == label
        assert abs(chosen[of_label].sum() - of_label.sum() / 10) <= 1
        assert not chosen[of_label].all()


def test_the_choice_depends_on_the_texts_alone() -> None:
    """Their order does not matter, so every seed and every restart gives the same choice."""
    texts, names = made(200, ('a', 'b'))
    chosen = splits.held_out(texts, names, 'a.csv')
    order = np.random.default_rng(0).permutation(200)
    again = splits.held_out([texts[i] for i in order], [names[i] for i in order], 'a.csv')
    np.testing.assert_array_equal(again, chosen[order])


def test_copies_of_a_text_are_on_one_side() -> None:
    texts, names = made(300, ('a', 'b'))
    copies = [text.upper() + '!' for text in texts]
    chosen = splits.held_out(texts + copies + ['?', '!'], [*names, *names, 'a', 'a'], 'a.csv')
    np.testing.assert_array_equal(chosen[:300], chosen[300:600])
    assert 50 <= chosen.sum() <= 70


def test_rare_labels_share_what_is_held_out() -> None:
    """With four examples of each of 50 labels, a tenth of each label would be no example."""
    names = [f'label {i % 50}' for i in range(200)]
    chosen = splits.held_out([f'text {i}' for i in range(200)], names, 'a.csv')
    assert chosen.sum() == 20
    held = collections.Counter(name for name, out in zip(names, chosen, strict=True) if out)
    assert max(held.values()) == 1


def test_too_few_examples_are_refused() -> None:
    with pytest.raises(ValueError, match=r'a\.csv has 2 examples, too few .*config.data.eval_file'):
        splits.held_out(['one', 'two'], ['a', 'a'], 'a.csv')
    with pytest.raises(ValueError, match=r'each label only once, .* config.data.label_field is'):
        splits.held_out(['one', 'two'], ['a', 'b'], 'a.csv')


def rows(*values: Any) -> list[Example]:
    return [
        Example(str(i), None, None, f'a.csv:{i + 2}', {} if value == 'none' else {'split': value})
        for i, value in enumerate(values)
    ]


def test_the_parts_are_in_the_order_of_the_file() -> None:
    found = splits.by_column(rows('Train', 'val', 'test', ' train ', 'dev'), 'split')
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
        splits.by_column(rows(*values), 'split')
