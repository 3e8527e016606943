"""Names of labels and tags that files have as numbers, from config.data.label_names."""

import re
from collections.abc import Sequence

KEY = 'config.data.label_names'
NUMBER = re.compile(r'(\d{1,9})(\.0+)?')  # pandas writes 1.0 if another row has no label


def parse(setting: str) -> tuple[str, ...]:
    """The names by number. Raises ValueError if a name is empty or occurs twice."""
    names = tuple(name.strip() for name in setting.split(',')) if setting else ()
    if not all(names) or len({*names}) < len(names):
        raise ValueError(
            f'{KEY} is {setting!r}; expected the name of each number, in order from 0, with commas '
            'between the names'
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
        f'{where} has {label!r}; expected a number from 0 to {len(names) - 1}, or a name in {KEY}'
    )
