"""The special tokens of a vocabulary by role, whatever they are called in it."""

import dataclasses
from collections.abc import Sequence
from typing import Generic, TypeVar

T = TypeVar('T', int, str)


@dataclasses.dataclass(frozen=True)
class Specials(Generic[T]):
    """The special tokens of a vocabulary: their ids, Specials[int], or their pieces, Specials[str].

    bos and eos are None if the vocabulary has no such tokens.
    """

    pad: T
    unk: T
    cls: T
    sep: T
    mask: T
    bos: T | None = None
    eos: T | None = None

    def all(self) -> tuple[T, ...]:
        """The special tokens that there are."""
        return tuple(value for value in dataclasses.astuple(self) if value is not None)

    def pieces(self, vocabulary: Sequence[str]) -> 'Specials[str]':
        """The pieces of these ids."""
        ids = {role: i for role, i in dataclasses.asdict(self).items() if i is not None}
        return Specials(**{role: vocabulary[i] for role, i in ids.items()})


BERT = Specials(pad='[PAD]', unk='[UNK]', cls='[CLS]', sep='[SEP]', mask='[MASK]')
