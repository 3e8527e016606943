"""The special tokens of a vocabulary by role. Vocabularies have different names for them."""

import dataclasses
from collections.abc import Mapping, Sequence
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

    def by_role(self) -> dict[str, T]:
        """The special tokens that the vocabulary has, by role."""
        return {role: x for role, x in dataclasses.asdict(self).items() if x is not None}

    def all(self) -> tuple[T, ...]:
        """The special tokens that the vocabulary has."""
        return tuple(self.by_role().values())


BERT = Specials(pad='[PAD]', unk='[UNK]', cls='[CLS]', sep='[SEP]', mask='[MASK]')
# The names of each role in the vocabularies of the BERT family, BERT's own first.
NAMES: Mapping[str, tuple[str, ...]] = {
    'pad': (BERT.pad, '<pad>'),
    'unk': (BERT.unk, '<unk>'),
    'cls': (BERT.cls, '<cls>', '<s>'),
    'sep': (BERT.sep, '<sep>', '</s>'),
    'mask': (BERT.mask, '<mask>'),
}


def find_specials(pieces: Sequence[str], source: object, remedy: str) -> Specials[int]:
    """The ids of the special tokens in a vocabulary.

    Raises ValueError naming `source`, the roles for which it has no token, and `remedy`.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    known = {role: [name for name in names if name in ids] for role, names in NAMES.items()}
    missing = [' or '.join(NAMES[role]) for role in NAMES if not known[role]]
    if missing:
        raise ValueError(f'{source} has no {", no ".join(missing)}; {remedy}')
    return Specials(**{role: ids[names[0]] for role, names in known.items()})
