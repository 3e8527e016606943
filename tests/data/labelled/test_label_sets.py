import json
import pathlib
from typing import Any

import numpy as np
import pytest

from bert_jax.data.labelled import examples, label_sets, labels

READ = {  # value in the file, separator -> labels
    'a list': (['b', 'a'], None, ('b', 'a')),
    'numbers': ([1, 2], None, ('1', '2')),
    'an empty list': ([], None, ()),
    'null': (None, None, None),
    'a cell': ('b, a', ',', ('b', 'a')),
    'another separator': ('x,y|z', '|', ('x,y', 'z')),
    'spaces': ('b  a', ' ', ('b', 'a')),
    'an empty cell': ('', ',', ()),
    'a separator at the end': ('a,', ',', ('a',)),
    'JSON in a cell': ('["b", "a,c"]', ',', ('b', 'a,c')),
    "Python's list": ("['b', 'a']", ',', ('b', 'a')),
    "Python's set": ("{'b', 'a'}", ',', ('a', 'b')),
    "NumPy's array": ("['b' 'a']", ',', ('b', 'a')),
}
REFUSED = {  # value in the file, separator -> message
    'a string in JSON': ('a', None, "has 'a' in 'label'; expected a list of labels"),
    'a number': (1, ',', 'expected a list of labels'),
    'an object': ({'a': 1}, ',', 'expected a list of labels'),
    'a list of lists': ([['a']], None, r"the label \['a'\] .*; expected strings"),
    'half a number': ([0.5], None, 'the label 0.5 .*; expected strings or whole numbers'),
    'half a surrogate pair': (['\ud83d'], None, "half a surrogate pair in 'label'"),
    'an empty label': (['a', ' '], None, 'expected strings or whole numbers'),
    'twice': ('a,b,a', ',', "the label 'a' twice"),
    'half a list': ("['a', 'b'", ',', 'begins like a list but is not one'),
}


@pytest.mark.parametrize('case', READ)
def test_labels_are_read(case: str) -> None:
    value, separator, expected = READ[case]
    assert label_sets.parse(value, 'label', 'file:1', separator) == expected


@pytest.mark.parametrize('case', REFUSED)
def test_what_is_not_a_set_of_labels_is_refused(case: str) -> None:
    value, separator, message = REFUSED[case]
    with pytest.raises(ValueError, match=f'^file:1 .*{message}'):
        label_sets.parse(value, 'label', 'file:1', separator)


def rows(path: pathlib.Path, *values: Any) -> list[examples.Example]:
    records = [{'text': 'x', 'label': value} for value in values]
    path.write_text('\n'.join(map(json.dumps, records)))
    return [*examples.iter_file(path, separator=',')]


def test_arrays(tmp_path: pathlib.Path) -> None:
    found = rows(tmp_path / 'a.jsonl', ['10', '9'], [], ['9'])
    names = labels.label_set_names(found)
    assert names == ['9', '10'], 'in the order of numbers'
    assert labels.targets(found, names).tolist() == [[1, 1], [0, 0], [1, 0]]
    assert labels.targets(found, names).dtype == np.int32


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ((['a'], None), 'a.jsonl:2 has no label'),
        (([], []), 'no example has a label'),
        (([0, 1], [1, 0]), "a.jsonl:1 has .*'0', '1'.*, which looks like a 0 or a 1 for each"),
        ((['1'], ['1.0']), "a.jsonl:2 has the label '1.0', and an example before it has '1'"),
    ],
)
def test_what_can_not_be_learned_is_refused(
    tmp_path: pathlib.Path, values: tuple, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        labels.label_set_names(rows(tmp_path / 'a.jsonl', *values))


def test_an_unknown_label_is_refused(tmp_path: pathlib.Path) -> None:
    found = rows(tmp_path / 'a.jsonl', ['a'], ['b', 'c'])
    with pytest.raises(ValueError, match=r"a.jsonl:2 has the label 'c'; expected one of"):
        labels.targets(found, ['a', 'b'])
