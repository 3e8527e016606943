"""The labels of examples: their names, ids and values, and checks of labels that look wrong."""

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from bert_jax.data.labelled.examples import Example
from bert_jax.data.labelled.texts import NO_VALUE

LISTED = 20  # a message lists at most this many labels
FEW = 20  # fewer examples than this say little about a column
TRUTH = {'true': '1.0', 'yes': '1.0', 'false': '0.0', 'no': '0.0'}
QUOTES = '"\'`\u2018\u2019\u201c\u201d.,;:'
WHOLE_NUMBER = re.compile(r'([+-]?\d{1,18})(\.0+)?')
BETWEEN = re.compile(r'[\s_-]+')
SEVERAL = re.compile('[|;,]')
BITS = {'0', '1', 'true', 'false'}  # values that say for each label whether a text has it
NAMES_KEY = 'config.data.label_names'
NUMBER = re.compile(r'(\d{1,9})(\.0+)?')  # pandas writes 1.0 if another row has no label


def label_names(examples: Sequence[Example]) -> list[str]:
    """The labels that occur, in alphabetical order, or by value if all are whole numbers. Raises
    ValueError if an example has no label, and if a number has two spellings, such as 1 and 1.0."""
    names: dict[str, str] = {}
    for example in examples:
        for label in _labels(example):
            number = WHOLE_NUMBER.fullmatch(label)
            other = names.setdefault(number[1].removeprefix('+') if number else label, label)
            if other != label:
                raise ValueError(
                    f'{example.where} has the label {label!r}, and an example before it has '
                    f'{other!r}; write equal numbers in the same way'
                )
    if all(re.fullmatch(r'[+-]?\d{1,18}', name) for name in names.values()):
        return sorted(names.values(), key=lambda name: (int(name), name))
    return sorted(names.values())


def label_set_names(examples: Sequence[Example]) -> list[str]:
    """The labels of examples that may have several, in the order of `label_names`.

    Raises ValueError if an example has no value for labels, if no example has a label, and if the
    examples have a 0 or a 1 for each label instead.
    """
    found = label_names(examples)
    if not found:
        raise ValueError('no example has a label; expected at least one')
    counts = {len(example.labels or ()) for example in examples}
    if {*found} <= BITS and min(counts) > 1:
        raise ValueError(
            f'{examples[0].where} has {examples[0].labels}, which looks like a 0 or a 1 for each '
            'label; expected the names of the labels that the text has'
        )
    return found


def numbered_names(setting: str) -> tuple[str, ...]:
    """The names of labels that files have as numbers, from config.data.label_names. Raises
    ValueError if a name is empty or occurs twice."""
    names = tuple(name.strip() for name in setting.split(',')) if setting else ()
    if not all(names) or len({*names}) < len(names):
        raise ValueError(
            f'{NAMES_KEY} is {setting!r}; expected the name of each number, in order from 0, with '
            'commas between the names'
        )
    return names


def name_of(label: str, names: Sequence[str], where: str, strict: bool = True) -> str:
    """The name of a label that is a number. A label that is a name remains as it is. Raises
    ValueError for other labels if names are given, unless `strict` is false."""
    if not names or label in names:
        return label
    number = NUMBER.fullmatch(label)
    if number and int(number[1]) < len(names):
        return names[int(number[1])]
    if not strict:
        return label
    raise ValueError(
        f'{where} has {label!r}; expected a number from 0 to {len(names) - 1}, or a name in '
        f'{NAMES_KEY}'
    )


def check_column(examples: Sequence[Example], path: str) -> None:
    """Raises ValueError if the labels look like texts or ids: if almost each of many examples has a
    label of its own, or if labels differ where texts are the same."""
    labels, texts = {e.label for e in examples}, {e.parts for e in examples}
    own = len(labels) > 0.9 * len(examples) and len(examples) >= FEW
    turned = len(labels) >= max(2 * len(texts), len(examples) / 2) and len(examples) > 3
    if own or turned:
        found = f'{len(labels):,} different labels and {len(texts):,} different texts'
        shown = sorted(map(str, labels))[0]
        numbers = all(as_number(str(label)) == as_number(str(label)) for label in labels)
        hint = '; to learn numbers: config.data.regression=true' if numbers else ''
        raise ValueError(
            f'{path} has {found} in {len(examples):,} examples (such as the label {shown[:60]!r}); '
            f'config.data.label_field has to name the column of labels{hint}'
        )


def alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of different names that may mean the same: they differ only in case, in the composition
    or the width of characters, in invisible characters, in spaces, hyphens and underscores, or in
    quotes and marks around them; or they are equal numbers or equal truth values."""
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        plain = unicodedata.normalize('NFKC', name).casefold()
        plain = ''.join(c for c in plain if unicodedata.category(c) not in ('Cf', 'Cc'))
        plain = unicodedata.normalize('NFKC', plain).strip().strip(QUOTES)
        number = as_number(plain)
        plain = BETWEEN.sub(' ', plain).strip() if np.isnan(number) else str(number)
        other = first.setdefault(TRUTH.get(plain, plain), name)
        if other != name:
            pairs.append((other, name))
    return pairs


def doubts(names: Sequence[str], multi_label: bool) -> list[str]:
    """Warnings about the names of labels: two may mean the same, and a name may be a missing value
    or several labels. multi_label: whether a text may have several labels."""
    lines = [f'labels that may mean the same: {a!a} and {b!a}' for a, b in alike(names)]
    missing = [name for name in names if name.lower() in NO_VALUE]
    lines += [f'labels that look like missing values: {name!a}' for name in missing]
    for name in names:
        parts = [part.strip() for part in SEVERAL.split(name)]
        if len(parts) > 1 and all(parts) and (multi_label or {*parts} & {*names}):
            key = 'label_separator' if multi_label else 'multi_label'
            lines.append(f'labels that look like several labels: {name!a} (config.data.{key})')
    return lines


def label_ids(examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """int32[n], indices in `names`, of examples with one label each. Raises ValueError for a label
    that is unknown or missing."""
    return np.array([*itertools.chain.from_iterable(_ids(examples, names))], np.int32)


def targets(examples: Sequence[Example], names: Sequence[str]) -> np.ndarray:
    """int32[examples, labels], 1 for the labels of each example. Raises ValueError for a label that
    is unknown, and for an example without a value for labels."""
    array = np.zeros((len(examples), len(names)), np.int32)
    for row, ids in zip(array, _ids(examples, names), strict=True):
        row[ids] = 1
    return array


def label_values(examples: Sequence[Example]) -> np.ndarray:
    """float32[n]. Raises ValueError for a label that is missing or is not a finite number."""
    values = []
    for example in examples:
        (label,) = _labels(example)
        values.append(as_number(label))
        if not abs(values[-1]) <= np.finfo(np.float32).max:  # true for NaN, too
            raise ValueError(f'{example.where} has the label {label!r}; expected a finite number')
    return np.array(values, np.float32)


def as_number(label: str) -> float:
    """The number, or NaN if the label is not a number."""
    try:
        return np.nan if '_' in label else float(label)  # 1_000 is a number in Python only
    except ValueError:
        return np.nan


def first_unknown(examples: Sequence[Example], names: Sequence[str]) -> str:
    """The place of the first example without a value for labels, or with a label that is none of
    `names` or, if there are no names, is not a finite number; '' if there is none."""

    def is_known(label: str) -> bool:
        return label in names if names else bool(np.isfinite(as_number(label)))

    for example in examples:
        labels = example.all_labels
        if labels is None or not all(map(is_known, labels)):
            return example.where
    return ''


def _ids(examples: Sequence[Example], names: Sequence[str]) -> Iterator[list[int]]:
    """The indices in `names` of each example's labels. Raises ValueError for a label that is
    unknown, and for an example whose labels are not known."""
    ids = {name: i for i, name in enumerate(names)}
    for example in examples:
        labels = _labels(example)
        for label in labels:
            if label not in ids:
                known = ', '.join(map(repr, names[:LISTED]))
                if len(names) > LISTED:
                    known += ', ...'
                is_fraction = as_number(label) % 1 > 0
                hint = '; to learn numbers: config.data.regression=true' if is_fraction else ''
                raise ValueError(
                    f'{example.where} has the label {label!r}; expected one of the training '
                    f'file: {known}{hint}'
                )
        yield [ids[label] for label in labels]


def _labels(example: Example) -> tuple[str, ...]:
    """The labels of an example. Raises ValueError if they are not known."""
    if (labels := example.all_labels) is None:
        raise ValueError(
            f'{example.where} has no label; add it, or name the column of labels with '
            'config.data.label_field'
        )
    return labels
