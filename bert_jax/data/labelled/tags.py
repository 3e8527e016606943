"""Schemes of tags: how tags mark entities, which tags are ill-formed, and other ways to write
them."""

import itertools
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from bert_jax.data.labelled.sentence import Sentence

TYPED = re.compile('[BIESLU]-.+')
MARKS = frozenset('OBIESLU')
IOBES = str.maketrans('LU', 'ES')  # the marks of BILOU -> those of IOBES
MOSTLY = 0.1  # in IOB1 at most this share of entities wrongly begins with B-
# Other ways to write B-PER: b-per, B_PER and PER-B; see `usual_forms`.
SMALL = re.compile('o|[bieslu]-.+')
JOINED = re.compile('(?P<mark>[BIESLU])[_/:.|](?P<kind>.+)')
TURNED = re.compile('(?P<kind>.+)[-_](?P<mark>[BIESLU])')
NO_TAG = '_'  # the tag of a word without a prediction if there is no O, as in CoNLL-U


class Scheme(NamedTuple):
    """A scheme of tags.

    name: BIO, IOB1, IOBES or BILOU, or plain for tags that do not mark entities. ill_formed: the
    number of tags that may not stand beside the tag before or after them.
    """

    name: str
    ill_formed: int


def scheme(tags: Iterable[Sequence[str]], name: str = '') -> Scheme:
    """The scheme of the tags of sentences. name: the scheme, if it is known.

    In IOB1 an entity begins with I-, or with B- directly after an entity of the same type. In all
    other schemes it never begins with I-. Tags with entities of both kinds are IOB1 if at most
    MOSTLY of those that are not directly after one of their type begin with B-.
    """
    tags = list(tags)
    distinct = set(itertools.chain.from_iterable(tags))
    if not mark_entities(distinct):
        return Scheme('plain', 0)
    pairs = [pair for s in tags for pair in zip(['O', *s], [*s, 'O'], strict=True)]
    same_type = [a != 'O' and b != 'O' and a[1:] == b[1:] for a, b in pairs]
    marks = [(a[0].translate(IOBES), b[0].translate(IOBES)) for a, b in pairs]
    if name in ('IOBES', 'BILOU') or (not name and {tag[0] for tag in distinct} & set('ESLU')):
        ill_formed = 0
        for (a, b), same in zip(marks, same_type, strict=True):
            opened, continues = a in 'BI', b in 'IE'
            ill_formed += (opened or continues) and not (opened and continues and same)
        found = 'BILOU' if {tag[0] for tag in distinct} & set('LU') else 'IOBES'
        return Scheme(name or found, ill_formed)
    first = [b for (_, b), same in zip(marks, same_type, strict=True) if not same]
    wrong = {'IOB1': first.count('B'), 'BIO': first.count('I')}
    if not name:
        is_iob1 = wrong['BIO'] and wrong['IOB1'] <= MOSTLY * sum(wrong.values())
        name = 'IOB1' if is_iob1 else 'BIO'
    return Scheme(name, wrong.get(name, 0))


def label_names(sentences: Sequence[Sentence]) -> list[str]:
    """The tags that occur; the id of a label is its index. O is first, if it occurs or if the tags
    mark entities, and the others are sorted."""
    tags = {tag for sentence in sentences for tag in sentence.tags or ()}
    outside = ['O'] if 'O' in tags or mark_entities(tags) else []
    return [*outside, *sorted(tags - {'O'})]


def mark_entities(tags: Collection[str]) -> bool:
    """Returns whether tags mark entities. If so, some have the form B-TYPE, or all are single
    marks, such as B. Other tags, such as parts of speech, belong to single words."""
    return any(map(TYPED.fullmatch, tags)) or {*tags} <= MARKS


def usual_forms(tags: Collection[str]) -> dict[str, str]:
    """The usual form of each tag of a file that is written otherwise: B-PER for b-per, B_PER and
    PER-B, or B for b. It is empty if no tag marks an entity in one of these ways, or if only some
    do."""
    rest = {*tags} - {'O'}
    if mark_entities(tags) or not rest:
        return {}
    if all(map(SMALL.fullmatch, tags)) or {'b', 'o'} <= {*tags} <= {*'obieslu'}:
        return {tag: tag.upper() if tag.islower() else tag[0].upper() + tag[1:] for tag in tags}
    for pattern in (JOINED, TURNED) if 'O' in tags else ():
        matches = {tag: pattern.fullmatch(tag) for tag in rest}
        if all(matches.values()) and any(m and m['mark'] in 'BSU' for m in matches.values()):
            return {tag: f'{m["mark"]}-{m["kind"]}' for tag, m in matches.items() if m}
    return {}


def check(path: str, first: Mapping[str, str]) -> None:
    """Raises ValueError, with file and line, if only some of the tags mark entities, and if tags of
    IOBES and of BILOU are mixed. first: the place where each tag occurs first."""
    if not mark_entities(set(first)):
        return
    typed = any(map(TYPED.fullmatch, first))
    for tag, where in first.items():
        if tag != 'O' and not (TYPED.fullmatch(tag) if typed else tag in MARKS):
            raise ValueError(
                f'{where} has the tag {tag!r}, but other tags have the form B-TYPE; expected O, '
                'or B-, I-, E-, S- (in BILOU B-, I-, L-, U-) and a type'
            )
    marks = {tag[0]: where for tag, where in first.items()}
    if marks.keys() & set('ES') and marks.keys() & set('LU'):
        both = ', '.join(f'{mark}- in {where}' for mark, where in marks.items() if mark in 'ESLU')
        raise ValueError(f'{path} mixes tags of IOBES and BILOU ({both}); use one of them')
