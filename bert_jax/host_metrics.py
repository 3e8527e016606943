"""Official scores, on the host."""

import collections
import itertools
import re
from collections.abc import Sequence

TYPED = re.compile('[BIESLU]-.+')
MARKS = frozenset('OBIESLU')


def entities(gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]]) -> dict[str, float]:
    """Precision, recall and F1 of entities, of all and `f1/TYPE`, and the accuracy of words.

    gold, predicted: tags of the words of each sentence, BIO, IOB1, IOBES or BILOU. An entity is
    right where its first word, last word and type are; those of ill-formed tags are conlleval's,
    as in seqeval's default mode. `entities` and `predicted_entities` count them, `ill_formed`
    those predicted that begin with I-, E- or L-, as only IOB1's may. Tags that mark no entities,
    as parts of speech, have an accuracy only. Raises ValueError where the words are not the same.
    """
    if len(gold) != len(predicted):
        raise ValueError(f'{len(predicted)} sentences have predictions, expected {len(gold)}')
    for i, (a, b) in enumerate(zip(gold, predicted, strict=True)):
        if len(a) != len(b):
            raise ValueError(f'sentence {i} has {len(b)} predicted tags, expected {len(a)}')
    words, tags = (list(itertools.chain.from_iterable(s)) for s in (gold, predicted))
    if not words:
        raise ValueError('there are no words to score')
    accuracy = sum(a == b for a, b in zip(words, tags, strict=True)) / len(words)
    if not (any(map(TYPED.fullmatch, words)) or set(words) <= MARKS):
        return {'accuracy': accuracy}
    there, found = ({(i, *e) for i, s in enumerate(x) for e in spans(s)} for x in (gold, predicted))
    all_there, all_found, right = (
        collections.Counter(kind for *_, kind in e) for e in (there, found, there & found)
    )
    total, guessed, hits = all_there.total(), all_found.total(), right.total()
    marks = [predicted[i][start][0] for i, start, _, _ in found]
    return {
        'precision': hits / max(guessed, 1),
        'recall': hits / max(total, 1),
        'f1': 2 * hits / max(total + guessed, 1),
        'accuracy': accuracy,
        'entities': total,
        'predicted_entities': guessed,
        'ill_formed': sum(mark in 'IEL' for mark in marks),
    } | {
        f'f1/{kind}': 2 * right[kind] / (all_there[kind] + all_found[kind])
        for kind in sorted(all_there | all_found)
        if kind
    }


def spans(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The entities of a sentence: first word, last word and type (empty for bare B and I).

    As conlleval's: a word goes on with an entity if it has I- or E- (or L-) of the same type after
    B- or I-, and begins one with any other tag than O.
    """
    found: list[tuple[int, int, str]] = []
    before = 'O'
    for i, tag in enumerate(tags):
        kind = tag[2:]
        if before[0] in 'BI' and tag[0] in 'IEL' and before[2:] == kind:
            found[-1] = (found[-1][0], i, kind)
        elif tag != 'O':
            found.append((i, i, kind))
        before = tag
    return found
