"""The table of kinds of inputs in the README has the numbers of the tests."""

import runpy
import types

from test_readmes import rows_under
from tiny_model import ROOT

from bert_jax.config import disk
from bert_jax.data.labelled import labels


def module(path: str) -> types.SimpleNamespace:
    """The names of a module of tests that is not in a package."""
    return types.SimpleNamespace(**runpy.run_path(str(ROOT / 'tests' / path)))


def test_the_table_has_the_numbers_of_the_tests() -> None:
    other = module('data/labelled/test_other_kinds.py')
    spans = module('data/labelled/test_character_spans.py')
    unknown = module('data/store/test_unknown_text.py')
    began = [bool(refusal) for *_, refusal in module('training/test_init_from.py').BEGAN]
    alike = 2 * len(labels.alike(other.ALIKE))
    # The numbers of refused, counted and right inputs, in the order of the table.
    expected = [
        (len({**other.TRAINED, **other.PREDICTED}), len(other.FORMS), len(other.WORDS_AND_TAGS)),
        (len(other.BINARY) * len(other.READERS), 0, 0),
        (0, alike, len(other.ALIKE) - alike),
        (len(spans.REFUSED), len(spans.FORMS), 0),
        (len(unknown.REFUSED) + 1, 0, 0),
        (sum(began), 0, len(began) - sum(began)),
        (4 * len(disk.REASONS), 0, 0),
        (0, 0, 300),
    ]
    text = (ROOT / 'tests' / 'README.md').read_text()
    _, *rows = rows_under(text, '## Inputs')
    found = [tuple(map(int, row[1:5])) for row in rows]
    assert found == [(sum(numbers), *numbers) for numbers in expected]
