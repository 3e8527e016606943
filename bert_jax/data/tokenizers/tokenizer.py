"""Text to token ids: WordPiece vocabularies (trained here or read) and SentencePiece models."""

import collections
import functools
import pathlib
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import sentencepiece
import tokenizers
from etils import epath
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from bert_jax.data.tokenizers import offsets
from bert_jax.data.tokenizers.specials import BERT, Specials

SPECIALS = BERT.all()
# The names that SentencePiece models of the BERT family give to BERT's special tokens.
ALIASES = {
    '[PAD]': ('[PAD]', '<pad>'),
    '[UNK]': ('[UNK]', '<unk>'),
    '[CLS]': ('[CLS]', '<cls>', '<s>'),
    '[SEP]': ('[SEP]', '<sep>', '</s>'),
    '[MASK]': ('[MASK]', '<mask>'),
}
FILES = ('vocab.txt', 'tokenizer.model')  # what `Tokenizer.save` writes, one of them
COVERAGE = 0.9999  # share of the characters of a text that a vocabulary trained on it has to know
MIN_COVERAGE = 0.9  # below it the vocabulary is refused


class Tokenizer:
    """A vocabulary with BERT's five special tokens and an encoder that adds none of them.

    pieces: the token strings by id. specials, special_pieces: the special tokens by role, their ids
    and their strings. mask_markers: what a user types for the mask token: its string, and BERT's
    for every vocabulary. encode_batch: texts -> a list of ids each, on all cores.
    encode_offsets: texts -> (the same ids, a [start, end) each: the characters of the text as it
    was given that the token stands for, none for a token of white space) each.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        specials: Specials[int],
        encode_batch: Any,
        encode_offsets: Any,
        decode: Any,
        continuation: np.ndarray,
        files: dict[str, bytes],
        lowercase: bool,
    ):
        self.pieces = list(pieces)
        self.vocab_size = len(self.pieces)
        self.specials = specials
        self.special_pieces = specials.pieces(self.pieces)
        self.mask_markers = tuple(dict.fromkeys((self.special_pieces.mask, BERT.mask)))
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = specials.all()[:5]
        self.encode_batch = encode_batch
        self.encode_offsets = encode_offsets
        self.decode = decode
        self.is_continuation = continuation  # bool[vocab_size]: does not begin a word
        self.files = files
        self.lowercase = lowercase

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """int32[n]: ids that a masked token may be replaced by; no specials, no placeholders."""
        special = set(self.specials.all())
        return np.array(
            [
                i
                for i, piece in enumerate(self.pieces)
                if i not in special and not _is_placeholder(piece)
            ],
            np.int32,
        )

    def save(self, directory: pathlib.Path) -> None:
        """Writes the vocabulary; `load` reads it back from the directory."""
        for name, data in self.files.items():
            (directory / name).write_bytes(data)


def _is_placeholder(piece: str) -> bool:
    return piece.startswith('[unused') or (piece.startswith('<') and piece.endswith('>'))


def load(path: epath.PathLike, lowercase: bool = True) -> Tokenizer:
    """A vocab.txt, a SentencePiece .model, or a directory, local or gs://, that holds one of them.

    Raises ValueError for what is none of these and for a vocabulary without a special token.
    """
    path = epath.Path(path)
    if path.is_dir():
        found = [path / name for name in (*FILES, 'spiece.model') if (path / name).exists()]
        if not found:
            raise ValueError(f'{path} has no vocab.txt, tokenizer.model or spiece.model')
        path = found[0]
    if not path.exists():
        raise ValueError(f'vocabulary {path} does not exist')
    if path.suffix == '.model':
        return _sentencepiece(path, lowercase)
    return wordpiece(_read_vocab(path), lowercase, str(path))


def _read_vocab(path: epath.Path) -> list[str]:
    try:
        pieces = path.read_text('utf-8').removesuffix('\n').split('\n')
    except UnicodeDecodeError as error:
        raise ValueError(
            f'vocabulary {path} is not UTF-8 text ({error}); expected one token a line, '
            'or a SentencePiece model named *.model'
        ) from error
    pieces = [piece.removesuffix('\r') for piece in pieces]
    first: dict[str, int] = {}
    for i, piece in enumerate(pieces):
        if piece in first:
            raise ValueError(
                f'vocabulary {path}: line {i + 1} repeats {piece!r} of line '
                f'{first[piece] + 1}; every token may stand there once'
            )
        first[piece] = i
    return pieces


def wordpiece(pieces: list[str], lowercase: bool, source: str = 'the vocabulary') -> Tokenizer:
    """BERT's tokenizer over `pieces`; a token's id is its place in the list."""
    missing = [name for name in SPECIALS if name not in pieces]
    if missing:
        raise ValueError(
            f'{source} has no {", ".join(missing)}; a BERT vocabulary needs '
            f'{" ".join(SPECIALS)}: add the missing ones, a line each'
        )
    vocab = {piece: i for i, piece in enumerate(pieces)}
    backend = tokenizers.Tokenizer(models.WordPiece(vocab, unk_token='[UNK]'))
    _bert_text(backend, lowercase)

    def encode_batch(texts: Sequence[str]) -> list[list[int]]:
        return [
            encoding.ids
            for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)
        ]

    def encode_offsets(texts: Sequence[str]) -> list[tuple[list[int], list[offsets.Span]]]:
        encodings = backend.encode_batch(list(texts), add_special_tokens=False)
        return [
            (found.ids, found.offsets if text.isascii() else offsets.tidied(text, found.offsets))
            for text, found in zip(texts, encodings, strict=True)
        ]

    return Tokenizer(
        pieces,
        Specials(*(vocab[name] for name in SPECIALS)),
        encode_batch,
        encode_offsets,
        backend.decode,
        np.array([piece.startswith('##') for piece in pieces]),
        {'vocab.txt': ('\n'.join(pieces) + '\n').encode()},
        lowercase,
    )


def _bert_text(backend: tokenizers.Tokenizer, lowercase: bool) -> None:
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()


def train(texts: Sequence[str], vocab_size: int, lowercase: bool) -> Tokenizer:
    """A WordPiece vocabulary of at most `vocab_size` tokens, learned from `texts`.

    The same texts give the same vocabulary, in the same order, in every process. Raises ValueError
    where there is no text or `vocab_size` is too small for it.
    """
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token='[UNK]'))
    _bert_text(backend, lowercase)
    alphabet, known = _alphabet(texts, backend.normalizer, vocab_size // 4)
    # The trainer numbers the inner characters in the order of a randomly seeded hash table, and
    # breaks ties between merges by those numbers. Given as special tokens, they are numbered here.
    # Only what can follow a letter in a word may be inside one: no punctuation, no ideograph.
    split = backend.pre_tokenizer.pre_tokenize_str
    normalize = backend.normalizer.normalize_str
    inner = ['##' + c for c in alphabet if len(split(normalize('a' + c))) == 1]
    if known < MIN_COVERAGE:
        raise ValueError(
            f'a vocabulary of {vocab_size} tokens is too small: it has room for the '
            f'{len(alphabet)} most frequent characters, which are {known:.0%} of the text; raise '
            'the vocabulary size (config.model.vocab_size, --vocab_size)'
        )
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIALS, *inner],
        initial_alphabet=alphabet,
        limit_alphabet=len(alphabet),
        show_progress=False,
    )
    backend.train_from_iterator((texts[i : i + 1000] for i in range(0, len(texts), 1000)), trainer)
    vocab = backend.get_vocab()
    return wordpiece(sorted(vocab, key=vocab.__getitem__), lowercase)


def _alphabet(texts: Sequence[str], normalizer: Any, most: int) -> tuple[list[str], float]:
    """The most frequent characters, until COVERAGE of the text is covered; at most `most` of them.
    And the share that is covered. Raises ValueError where there are none."""
    raw = np.zeros(sys.maxunicode + 1, np.int64)
    for i in range(0, len(texts), 1000):
        encoded = ''.join(texts[i : i + 1000]).encode('utf-32-le')
        raw += np.bincount(np.frombuffer(encoded, np.uint32), minlength=len(raw))
    counts: collections.Counter[str] = collections.Counter()
    for code in np.flatnonzero(raw):
        for char in normalizer.normalize_str(chr(code)):
            if not char.isspace():
                counts[char] += int(raw[code])
    if not counts:
        raise ValueError('the corpus has no text to train a vocabulary on')
    ordered = sorted(counts, key=lambda char: (-counts[char], char))
    covered = np.cumsum([counts[char] for char in ordered]) / counts.total()
    kept = min(int(np.searchsorted(covered, COVERAGE)) + 1, len(ordered), most)
    return sorted(ordered[:kept]), float(covered[kept - 1]) if kept else 0.0


def _sentencepiece(path: epath.Path, lowercase: bool) -> Tokenizer:
    try:
        model = sentencepiece.SentencePieceProcessor(model_proto=path.read_bytes())
    except (RuntimeError, OSError) as error:
        raise ValueError(f'{path} is not a SentencePiece model ({error})') from error
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    by_role = []
    for name in SPECIALS:
        known = [alias for alias in ALIASES[name] if alias in ids]
        if not known:
            raise ValueError(
                f'{path} has no token for {name} (looked for '
                f'{", ".join(ALIASES[name])}); train the model with '
                '--control_symbols=[CLS],[SEP],[MASK] --pad_id=3, or use a model that has them'
            )
        by_role.append(ids[known[0]])
    specials = Specials(*by_role)

    unknown = specials.unk
    # A model's control symbols never come out of text, its user-defined ones do.
    typed = {i for i in specials.all() if not model.is_control(i)} - {unknown}
    single_bytes = {i for i in range(len(pieces)) if model.is_byte(i)}
    # ALBERT's and XLNet's models were trained on text without accents, XLNet's on cased text.
    plain = lowercase or not any(map(_has_accent, pieces))

    def normalised(texts: Sequence[str]) -> list[str]:
        batch = [offsets.without_accents(text) if plain else text for text in texts]
        return [text.lower() for text in batch] if lowercase else batch

    def encode_batch(texts: Sequence[str]) -> list[list[int]]:
        encoded = model.encode(normalised(texts), num_threads=-1)
        if typed:
            encoded = [[unknown if i in typed else i for i in ids] for ids in encoded]
        return encoded

    def encode_offsets(texts: Sequence[str]) -> list[tuple[list[int], list[offsets.Span]]]:
        batch, ids = normalised(texts), encode_batch(texts)
        cut = model.encode(batch, out_type=str, num_threads=-1)
        found = []
        for given, text, numbers, parts in zip(texts, batch, ids, cut, strict=True):
            sizes = [
                1 if i in single_bytes else len(part.encode())
                for i, part in zip(numbers, parts, strict=True)
            ]
            normal, origin = model.normalize(text, with_offsets=True)
            spans = offsets.of_pieces(normal, origin, sizes)
            if plain:
                spans = offsets.before_plain(given, text, spans)
            found.append((numbers, offsets.tidied(given, spans)))
        return found

    special = set(specials.all())
    continuation = np.array(
        [i not in special and _goes_on(piece) for i, piece in enumerate(pieces)]
    )
    return Tokenizer(
        pieces,
        specials,
        encode_batch,
        encode_offsets,
        model.decode,
        continuation,
        {'tokenizer.model': path.read_bytes()},
        lowercase,
    )


def _goes_on(piece: str) -> bool:
    """The rest of a word; punctuation is a word of its own, as in BERT."""
    return not piece.startswith(offsets.WORD_MARK) and any(map(str.isalnum, piece))


def _has_accent(piece: str) -> bool:
    return any(map(unicodedata.combining, unicodedata.normalize('NFKD', piece)))
