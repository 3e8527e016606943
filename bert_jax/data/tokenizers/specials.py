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
# The names of each role in the vocabularies of the BERT family, BERT's own first. A vocabulary may
# lack the roles in OPTIONAL.
NAMES: Mapping[str, tuple[str, ...]] = {
    'pad': (BERT.pad, '<pad>'),
    'unk': (BERT.unk, '<unk>'),
    'cls': (BERT.cls, '<cls>', '<s>'),
    'sep': (BERT.sep, '<sep>', '</s>'),
    'mask': (BERT.mask, '<mask>'),
    'bos': ('<s>', '[BOS]'),
    'eos': ('</s>', '[EOS]'),
}
OPTIONAL = ('bos', 'eos')
FAIRSEQ = Specials(
    pad='<pad>', unk='<unk>', cls='<s>', sep='</s>', mask='<mask>', bos='<s>', eos='</s>'
)
# XLM was trained with </s> at both ends of a text and never with <s>.
XLM = Specials(
    pad='<pad>', unk='<unk>', cls='</s>', sep='</s>', mask='<special1>', bos='<s>', eos='</s>'
)


def find_specials(
    pieces: Sequence[str], source: object, remedy: str, names: Mapping[str, str] | None = None
) -> Specials[int]:
    """The ids of the special tokens in a vocabulary.

    names: the piece of each role; the piece of a role without an entry is found by NAMES. Raises
    ValueError naming `source`, the roles for which it has no token, and `remedy`.
    """
    ids = {piece: i for i, piece in enumerate(pieces)}
    wanted = {**NAMES, **{role: (name,) for role, name in (names or {}).items()}}
    known = {role: [name for name in wanted[role] if name in ids] for role in wanted}
    missing = [' or '.join(wanted[r]) for r in wanted if not known[r] and r not in OPTIONAL]
    if missing:
        raise ValueError(f'{source} has no {", no ".join(missing)}; {remedy}')
    return Specials(**{role: ids[found[0]] for role, found in known.items() if found})
