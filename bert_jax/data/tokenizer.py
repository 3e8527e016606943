"""Text to token ids: WordPiece vocabularies (trained here or read) and SentencePiece models."""

import functools
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import sentencepiece
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

SPECIALS = ('[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]')
# The names that SentencePiece models of the BERT family give to BERT's special tokens.
ALIASES = {
    '[PAD]': ('[PAD]', '<pad>'),
    '[UNK]': ('[UNK]', '<unk>'),
    '[CLS]': ('[CLS]', '<cls>', '<s>'),
    '[SEP]': ('[SEP]', '<sep>', '</s>'),
    '[MASK]': ('[MASK]', '<mask>'),
}
WORD_MARK = '\u2581'


class Tokenizer:
    """A vocabulary with BERT's five special tokens and an encoder that adds none of them.

    pieces: the token strings by id. encode_batch: texts -> a list of ids each, on all cores.
    """

    def __init__(
        self,
        pieces: Sequence[str],
        specials: dict[str, int],
        encode_batch: Any,
        decode: Any,
        continuation: np.ndarray,
        files: dict[str, bytes],
        lowercase: bool,
    ):
        self.pieces = list(pieces)
        self.vocab_size = len(self.pieces)
        self.specials = specials
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (
            specials[name] for name in SPECIALS
        )
        self.encode_batch = encode_batch
        self.decode = decode
        self.is_continuation = continuation  # bool[vocab_size]: does not begin a word
        self.files = files
        self.lowercase = lowercase

    @functools.cached_property
    def ordinary_ids(self) -> np.ndarray:
        """int32[n]: ids that a masked token may be replaced by; no specials, no placeholders."""
        special = set(self.specials.values())
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


def load(path: str | pathlib.Path, lowercase: bool = True) -> Tokenizer:
    """A vocab.txt, a SentencePiece .model, or a directory that holds one of them.

    Raises ValueError for what is none of these and for a vocabulary without a special token.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        found = [
            path / name
            for name in ('vocab.txt', 'tokenizer.model', 'spiece.model')
            if (path / name).exists()
        ]
        if not found:
            raise ValueError(f'{path} has no vocab.txt, tokenizer.model or spiece.model')
        path = found[0]
    if not path.exists():
        raise ValueError(f'vocabulary {path} does not exist')
    if path.suffix == '.model':
        return _sentencepiece(path, lowercase)
    return wordpiece(_read_vocab(path), lowercase, str(path))


def _read_vocab(path: pathlib.Path) -> list[str]:
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

    return Tokenizer(
        pieces,
        {name: vocab[name] for name in SPECIALS},
        encode_batch,
        backend.decode,
        np.array([piece.startswith('##') for piece in pieces]),
        {'vocab.txt': ('\n'.join(pieces) + '\n').encode()},
        lowercase,
    )


def _bert_text(backend: tokenizers.Tokenizer, lowercase: bool) -> None:
    backend.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()


def train(texts: Iterable[str], vocab_size: int, lowercase: bool) -> Tokenizer:
    """A WordPiece vocabulary of at most `vocab_size` tokens, learned from `texts`."""
    backend = tokenizers.Tokenizer(models.WordPiece(unk_token='[UNK]'))
    _bert_text(backend, lowercase)
    backend.train_from_iterator(
        _batched(texts),
        trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=list(SPECIALS), show_progress=False
        ),
    )
    vocab = backend.get_vocab()
    if len(vocab) <= len(SPECIALS):
        raise ValueError('the corpus has no text to train a vocabulary on')
    if len(vocab) > vocab_size:
        raise ValueError(
            f'a vocabulary of {vocab_size} tokens is too small for this text: its '
            f'characters alone need {len(vocab)}; raise the vocabulary size'
        )
    return wordpiece(sorted(vocab, key=vocab.__getitem__), lowercase)


def _batched(texts: Iterable[str], size: int = 1000) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == size:
            yield batch
            batch = []
    yield batch


def _sentencepiece(path: pathlib.Path, lowercase: bool) -> Tokenizer:
    try:
        model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except (RuntimeError, OSError) as error:
        raise ValueError(f'{path} is not a SentencePiece model ({error})') from error
    pieces = [model.id_to_piece(i) for i in range(model.get_piece_size())]
    ids = {piece: i for i, piece in enumerate(pieces)}
    specials = {}
    for name in SPECIALS:
        known = [alias for alias in ALIASES[name] if alias in ids]
        if not known:
            raise ValueError(
                f'{path} has no token for {name} (looked for '
                f'{", ".join(ALIASES[name])}); train the model with '
                '--user_defined_symbols=[CLS],[SEP],[MASK] and a padding token'
            )
        specials[name] = ids[known[0]]

    def encode_batch(texts: Sequence[str]) -> list[list[int]]:
        texts = [text.lower() for text in texts] if lowercase else list(texts)
        return model.encode(texts, num_threads=-1)

    continuation = np.array([not piece.startswith(WORD_MARK) for piece in pieces])
    return Tokenizer(
        pieces,
        specials,
        encode_batch,
        model.decode,
        continuation,
        {'tokenizer.model': path.read_bytes()},
        lowercase,
    )
