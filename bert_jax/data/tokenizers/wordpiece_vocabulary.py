"""WordPiece vocabularies: vocab.txt, one token a line."""

import collections
import itertools
import json
import re
import sys
from collections.abc import Callable, Sequence

import numpy as np
import tokenizers
from etils import epath
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from bert_jax.data.tokenizers.base import marker
from bert_jax.data.tokenizers.fast_tokenizer import FastTokenizer, by_id, trained
from bert_jax.data.tokenizers.specials import BERT, NAMES, find_specials

VOCABULARY = 'vocab.txt'
NUMBERED = re.compile(r'[^\t]+\t-?[\d.e+-]+|\d+\t[^\t]+')  # a token with its count or id
LONGEST = 100  # characters of the longest word that is divided into tokens
COVERAGE = 0.9999  # the share of the characters of a text that a vocabulary trained on it contains
MIN_COVERAGE = 0.9  # if the share is smaller, training raises an error


class WordPiece(FastTokenizer):
    """BERT's tokenizer. The id of a token is its index in `pieces`.

    strip_accents: whether accents and other combining marks are removed; None means that they are
    removed if `lowercase` is true, as in BERT. Raises ValueError naming `source` if a special token
    is missing.
    """

    kind = 'wordpiece'
    has_space = False

    def __init__(
        self,
        pieces: Sequence[str],
        lowercase: bool,
        source: object = 'the vocabulary',
        strip_accents: bool | None = None,
    ):
        pieces = list(pieces)
        specials = find_specials(
            pieces,
            source,
            f'a BERT vocabulary needs {" ".join(BERT.all())}: add the missing ones, a line each',
        )
        ids = {piece: i for i, piece in enumerate(pieces)}
        model = models.WordPiece(ids, unk_token=pieces[specials.unk])
        self.strip_accents = strip_accents
        files = {VOCABULARY: ('\n'.join(pieces) + '\n').encode()}
        if strip_accents is not None:
            files |= marker(self.kind, lowercase=lowercase, strip_accents=strip_accents)
        tokenizer = _bert_tokenizer(model, lowercase, strip_accents)
        super().__init__(tokenizer, pieces, specials, files, lowercase)


def _bert_tokenizer(
    model: models.WordPiece, lowercase: bool, strip_accents: bool | None
) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(
        lowercase=lowercase, strip_accents=strip_accents
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def read(path: epath.Path, lowercase: bool, strip_accents: bool | None = None) -> WordPiece:
    """The vocabulary in a vocab.txt. Raises ValueError if it is not one."""
    try:
        text = path.read_bytes().decode('utf-8').removeprefix('\ufeff')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'vocabulary {path} is not UTF-8 text ({error}); expected one token a line, '
            'or a SentencePiece model named *.model'
        ) from error
    text = text.replace('\r\n', '\n').replace('\r', '\n')
    _check_kind(path, text)
    pieces = text.removesuffix('\n').split('\n')
    while len(pieces) > 1 and not pieces[-1]:
        pieces.pop()
    # Text is split at blanks, so that a blank at an end of a line is no part of a token.
    pieces = [piece.strip(' \t') or piece for piece in pieces]
    if not {*itertools.chain(*NAMES.values())} & {*pieces}:
        raise ValueError(
            f'vocabulary {path} has no special token, such as {BERT.mask}; it is not a vocabulary, '
            f'or it belongs to another kind of model. It begins with {text[:40]!r}'
        )
    first: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if not piece and len(pieces) > 1:
            raise ValueError(
                f'vocabulary {path}: line {i + 1} is empty; every line is a token. Write '
                f'[unused{i}] there, so that the other tokens keep their numbers, or remove the '
                'line if no model was trained with it'
            )
        if piece in first:
            raise ValueError(
                f'vocabulary {path}: line {i + 1} repeats {piece!r} of line '
                f'{first[piece] + 1}; every token may occur once only'
            )
        first[piece] = i
    return WordPiece(pieces, lowercase, path, strip_accents)


def _check_kind(path: epath.Path, text: str) -> None:
    """Raises ValueError if the text is JSON, or has numbers beside the tokens."""
    expected = 'expected a token on each line, in the order of their ids'
    try:
        is_json = text.startswith('{') and isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        is_json = False
    if is_json:
        raise ValueError(
            f'vocabulary {path} is JSON; {expected}. If transformers wrote it, name it '
            'tokenizer.json, and give its folder'
        )
    lines = text.splitlines()
    numbers_first = lines and lines[-1].partition('\t')[0].isdigit()
    if 2 * sum(map(bool, map(NUMBERED.fullmatch, lines))) > len(lines):
        raise ValueError(
            f'vocabulary {path} has a number beside each token ({lines[-1]!r:.40}); {expected}, '
            'and nothing else. To remove the numbers: '
            f'cut -f{2 if numbers_first else 1} FILE > vocab.txt'
        )
    found = {line.strip(' \t') for line in lines}
    for number, line in enumerate(lines, 1):
        if name := next((n for n in BERT.all() if n in line and n not in found), ''):
            raise ValueError(
                f'vocabulary {path}: line {number} has {name}, but also something else '
                f'({line[:40]!r}); {expected}, and nothing else'
            )


def train(
    texts: Sequence[str], vocab_size: int, lowercase: bool, strip_accents: bool | None = None
) -> WordPiece:
    """A tokenizer whose vocabulary of at most `vocab_size` tokens is learned from `texts`.

    The same texts give the same vocabulary, in the same order, in every process. Raises ValueError
    if there is no text or if `vocab_size` is too small for it.
    """
    backend = _bert_tokenizer(models.WordPiece(unk_token=BERT.unk), lowercase, strip_accents)
    split, normalize = backend.pre_tokenizer.pre_tokenize_str, backend.normalizer.normalize_str
    chars = alphabet(texts, normalize, vocab_size // 4, vocab_size)
    # The trainer numbers the inner characters in the order of a randomly seeded hash table, and
    # breaks ties between merges by those numbers. As special tokens they have the same numbers in
    # every process. Punctuation and ideographs are never inside a word, so only characters that can
    # follow a letter are inner characters.
    inner = ['##' + char for char in chars if len(split(normalize('a' + char))) == 1]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*BERT.all(), *inner],
        initial_alphabet=chars,
        limit_alphabet=len(chars),
        show_progress=False,
    )
    pieces = by_id(trained(backend, trainer, texts)['vocab'], 'the trained vocabulary')
    return WordPiece(pieces, lowercase, strip_accents=strip_accents)


def undivided(texts: Sequence[str], lowercase: bool, strip_accents: bool | None) -> int:
    """The number of characters that are in words of more than LONGEST characters."""
    backend = _bert_tokenizer(models.WordPiece(unk_token=BERT.unk), lowercase, strip_accents)
    split, normalize = backend.pre_tokenizer.pre_tokenize_str, backend.normalizer.normalize_str
    words = (word for text in texts for word, _ in split(normalize(text)))
    return sum(len(word) for word in words if len(word) > LONGEST)


def alphabet(
    texts: Sequence[str], normalize: Callable[[str], str], max_size: int, vocab_size: int
) -> list[str]:
    """The most frequent characters of the normalized texts, up to COVERAGE of the text and at most
    `max_size` of them.

    Raises ValueError if the texts have no characters, or if those are less than MIN_COVERAGE of
    the text, because the vocabulary of `vocab_size` tokens is too small.
    """
    raw = np.zeros(sys.maxunicode + 1, np.int64)
    for i in range(0, len(texts), 1000):
        encoded = ''.join(texts[i : i + 1000]).encode('utf-32-le')
        raw += np.bincount(np.frombuffer(encoded, np.uint32), minlength=len(raw))
    counts: collections.Counter[str] = collections.Counter()
    for code in np.flatnonzero(raw):
        for char in normalize(chr(code)):
            if not char.isspace():
                counts[char] += int(raw[code])
    if not counts:
        raise ValueError('the corpus has no text to train a vocabulary on')
    ordered = sorted(counts, key=lambda char: (-counts[char], char))
    covered = np.cumsum([counts[char] for char in ordered]) / counts.total()
    size = min(int(np.searchsorted(covered, COVERAGE)) + 1, len(ordered), max_size)
    coverage = float(covered[size - 1]) if size else 0.0
    if coverage < MIN_COVERAGE:
        raise ValueError(
            f'a vocabulary of {vocab_size} tokens is too small: it has room for the '
            f'{size} most frequent characters, which are {coverage:.0%} of the text; '
            'raise the vocabulary size (config.model.vocab_size, --vocab_size)'
        )
    return sorted(ordered[:size])
