"""SentencePiece models, as ALBERT and XLNet have them: tokenizer.model or spiece.model."""

import re
import unicodedata
from collections.abc import Sequence

import numpy as np
import sentencepiece
from etils import epath

from bert_jax.data.tokenizers.base import Span, Tokenizer, trimmed
from bert_jax.data.tokenizers.specials import NAMES, find_specials

WORD_MARK = '\u2581'
TEX_QUOTES = re.compile("``|''")
# Symbols with a meaning in a row. In some models, text that spells such a symbol is encoded as it.
STRUCTURE = {'<eod>', '<eop>', '<s>', '</s>', *(name for names in NAMES.values() for name in names)}


class SentencePiece(Tokenizer):
    """A Tokenizer on top of the library `sentencepiece`.

    Text is normalised first, as in ALBERT and XLNet: accents are removed, TeX quotes become '"',
    and text is lowercased if `lowercase` is true. If a cased model has accents in its vocabulary,
    they are not removed. Raises ValueError if the file is not a model or lacks a special token.
    """

    def __init__(self, path: epath.Path, lowercase: bool):
        try:
            content = path.read_bytes()
            self.model = sentencepiece.SentencePieceProcessor(model_proto=content)
        except (RuntimeError, OSError) as error:
            raise ValueError(f'{path} is not a SentencePiece model ({error})') from error
        pieces = [self.model.id_to_piece(i) for i in range(self.model.get_piece_size())]
        specials = find_specials(
            pieces,
            path,
            'train the model with --control_symbols=[CLS],[SEP],[MASK] --pad_id=3, or use a model '
            'that has them',
        )
        special = set(specials.all())
        is_continuation = np.array(
            [i not in special and _is_continuation(piece) for i, piece in enumerate(pieces)]
        )
        super().__init__(pieces, specials, is_continuation, {'tokenizer.model': content}, lowercase)
        # Text is never encoded as a control symbol of the model, but may be as a user-defined one.
        structure = {i for i, piece in enumerate(pieces) if piece in STRUCTURE}
        self._spelled = {i for i in structure if not self.model.is_control(i)}
        self._strips_accents = lowercase or not any(map(_has_accent, pieces))

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode(list(ids))

    def _normalised(self, texts: Sequence[str]) -> list[str]:
        batch = [without_accents(text) if self._strips_accents else text for text in texts]
        return [text.lower() for text in batch] if self.lowercase else batch

    def _without_structure(self, ids: list[int]) -> list[int]:
        return [self.specials.unk if i in self._spelled else i for i in ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.model.encode(self._normalised(texts), num_threads=-1)
        return [self._without_structure(ids) for ids in encoded] if self._spelled else encoded

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        encoded = self.model.encode(
            self._normalised(texts), return_type='offset_mapping', num_threads=-1
        )
        result = []
        for text, tokens in zip(texts, encoded, strict=True):
            spans = _whole_characters(tokens['pieces'], tokens['offsets'])
            if self._strips_accents and (not text.isascii() or TEX_QUOTES.search(text)):
                spans = _spans_with_accents(text, spans)
            result.append((self._without_structure(tokens['ids']), trimmed(text, spans)))
        return result


def without_accents(text: str) -> str:
    """The text in NFKD without combining characters, and with '"' for TeX quotes."""
    if not text.isascii():
        decomposed = unicodedata.normalize('NFKD', text)
        text = ''.join(char for char in decomposed if not unicodedata.combining(char))
    return TEX_QUOTES.sub('"', text)


def accentless_starts(text: str) -> list[int]:
    """For each character of `without_accents(text)`, the index in `text` of the character that it
    comes from. The last item is the length of `text`."""
    parts = [
        (part, i)
        for i, char in enumerate(text)
        for part in unicodedata.normalize('NFKD', char)
        if not unicodedata.combining(part)
    ]
    starts = [i for _, i in parts]
    for match in reversed([*TEX_QUOTES.finditer(''.join(part for part, _ in parts))]):
        del starts[match.start() + 1]
    return [*starts, len(text)]


def _whole_characters(pieces: Sequence[str], spans: Sequence[Span]) -> list[Span]:
    """The spans, with an empty span for a mark of white space, and whole characters for all others.

    If a character becomes several pieces, such as bytes, `sentencepiece` gives its span to the last
    piece and empty spans to the others. Here all of them have the span of the character.
    """
    result: list[Span] = []
    following = (-1, -1)
    for piece, (start, end) in zip(reversed(pieces), reversed(spans), strict=True):
        if piece == WORD_MARK:
            result.append((start, start))
            continue
        if start == end == following[0]:
            end = following[1]
        following = (start, end)
        result.append(following)
    return result[::-1]


def _spans_with_accents(text: str, spans: Sequence[Span]) -> list[Span]:
    """Spans of `without_accents(text)` as spans of `text`."""
    starts = accentless_starts(text)
    return [
        # Characters that come from the same one, such as '½', share its span.
        (starts[start], max(starts[end], starts[end - 1] + 1) if start < end else starts[start])
        for start, end in spans
    ]


def _is_continuation(piece: str) -> bool:
    """Whether the piece continues a word. Punctuation is a word of its own, as in BERT."""
    return not piece.startswith(WORD_MARK) and any(map(str.isalnum, piece))


def _has_accent(piece: str) -> bool:
    return any(map(unicodedata.combining, unicodedata.normalize('NFKD', piece)))
