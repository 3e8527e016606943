"""Fields of the configuration: their allowed values, and facts about them.

The type of a field defines the allowed values: `Literal[...]` lists choices, and an `Annotated`
type has a `Limit`. `setting(default, ...)` adds facts.
"""

import dataclasses
import enum
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

T = TypeVar('T')
INHERIT = -1.0  # the value of a rate that is taken from init_from


class Fact(enum.Enum):
    ARCHITECTURE = enum.auto()  # a checkpoint can be used with this value only
    INHERITED = enum.auto()  # taken from a checkpoint, unless another value is given
    FREE_ON_RESUME = enum.auto()  # may differ when a run is resumed
    PRETRAINING = enum.auto()  # read in pretraining only
    FINETUNING = enum.auto()  # read in fine-tuning only


class Limit(NamedTuple):
    holds: Callable[[Any], bool]
    expected: str


Positive = Annotated[int, Limit(lambda n: n > 0, 'a positive integer')]
Count = Annotated[int, Limit(lambda n: n >= 0, '0 or more')]
Seed = Annotated[int, Limit(lambda n: 0 <= n < 2**32, '0 to 2**32 - 1')]
VocabSize = Annotated[int, Limit(lambda n: 0 < n <= 2**24, 'a positive integer, at most 2**24')]
PositiveFloat = Annotated[float, Limit(lambda x: x > 0, 'more than 0')]
NotNegative = Annotated[float, Limit(lambda x: x >= 0, '0 or more')]
Probability = Annotated[float, Limit(lambda p: 0 <= p < 1, 'a probability, 0 <= p < 1')]
Share = Annotated[float, Limit(lambda p: 0 < p < 1, 'more than 0, less than 1')]
Fraction = Annotated[float, Limit(lambda p: 0 <= p <= 1, '0 to 1')]
Shares = Annotated[
    tuple,
    Limit(
        lambda s: len(s) == 3 and min(s) >= 0 and abs(sum(s) - 1) < 1e-6,
        'three numbers, 0 or more, whose sum is 1',
    ),
]
Frozen = Annotated[
    str,
    Limit(
        lambda s: s in ('', 'embeddings') or (s.isdecimal() and int(s) > 0),
        "empty, 'embeddings' or a number of layers",
    ),
]
LayerNumbers = Annotated[
    tuple, Limit(lambda s: all(n >= 0 and n == int(n) for n in s), 'layer numbers, starting at 0')
]
LayerDecay = Annotated[float, Limit(lambda d: 0 < d <= 1, 'more than 0, at most 1')]
# Dropout rounds its rate to a multiple of 2**-16.
DropoutRate = Annotated[
    float,
    Limit(
        lambda p: p in (0, INHERIT) or 2**-17 <= p < 1 - 2**-17,
        'a probability, 0 <= p < 1, that is not 0 or 1 after rounding to a multiple of 2**-16',
    ),
]
# A rate of dropout or of skipped layers. -1 means another rate, which the comment of the key names.
Rate = Annotated[
    float, Limit(lambda p: p == INHERIT or 0 <= p < 1, '-1, or a probability, 0 <= p < 1')
]


def setting(default: T, *facts: Fact | str) -> T:
    """A field of a configuration's dataclass with its default and its facts.

    If only some objectives or some fine-tuning tasks read the key, the facts include their names.
    """
    return dataclasses.field(default=default, metadata={'facts': facts})


def facts(field: dataclasses.Field) -> tuple[Fact | str, ...]:
    return field.metadata.get('facts', ())


def readers(field: dataclasses.Field) -> tuple[str, ...]:
    """The names of the objectives or tasks that read the key; () means that all of them do."""
    return tuple(fact for fact in facts(field) if isinstance(fact, str))


def value_type(field: dataclasses.Field) -> Any:
    """The field's type without its limit; str for choices."""
    if get_origin(field.type) is Annotated:
        return get_args(field.type)[0]
    return str if choices(field) else field.type


def choices(field: dataclasses.Field) -> tuple[str, ...]:
    """The allowed strings; () if the field's type is not a Literal."""
    return get_args(field.type) if get_origin(field.type) is Literal else ()


def limits(field: dataclasses.Field) -> tuple[Limit, ...]:
    """The limits of the field's value, in addition to its type."""
    if options := choices(field):
        return (Limit(options.__contains__, 'one of ' + ', '.join(options)),)
    return get_args(field.type)[1:] if get_origin(field.type) is Annotated else ()
