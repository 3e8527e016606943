"""Tokenizers on top of the library `sentencepiece`."""

import itertools
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import sentencepiece

from bert_jax.data.tokenizers.base import Span, Tokenizer, trimmed
from bert_jax.data.tokenizers.specials import Specials

MODEL = 'tokenizer.model'
WORD_MARK = '\u2581'
TEX_QUOTES = re.compile("``|''")


class ModelTokenizer(Tokenizer):
    """A Tokenizer on top of `model`, a model of the library `sentencepiece`.

    own_ids: for each token of the model, the ids of the tokens of the vocabulary that stand for it.
    comma_pieces: for tokens of the model that end in a comma, the pieces that stand for them (see
    `sentencepiece_model`). removes_accents: whether `normalized` removes accents.
    """

    comma_pieces: Mapping[int, Sequence[str]] = {}
    removes_accents = False

    def __init__(
        self,
        model: sentencepiece.SentencePieceProcessor,
        own_ids: Sequence[tuple[int, ...]],
        pieces: list[str],
        specials: Specials[int],
        files: dict[str, bytes],
        lowercase: bool,
    ):
        self.model, self.own_ids = model, own_ids
        special = set(specials.all())
        continues = [i not in special and is_continuation(p) for i, p in enumerate(pieces)]
        super().__init__(pieces, specials, np.array(continues), files, lowercase)

    def normalized(self, text: str) -> str:
        """The text that the model receives in place of `text`."""
        return text

    def _own(self, ids: Sequence[int]) -> list[int]:
        """The ids of the vocabulary for ids of the model."""
        return [own for i in ids for own in self.own_ids[i]]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.model.encode(list(map(self.normalized, texts)), num_threads=-1)
        return list(map(self._own, encoded))

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        plain = list(map(self.normalized, texts))
        result = []
        for text, tokens in zip(
            texts,
            self.model.encode(plain, return_type='offset_mapping', num_threads=-1),
            strict=True,
        ):
            whole = whole_characters(tokens['pieces'], tokens['offsets'])
            spans = [
                part
                for i, span in zip(tokens['ids'], whole, strict=True)
                for part in _parts(span, self.comma_pieces.get(i, ()))
            ]
            if self.removes_accents and (not text.isascii() or TEX_QUOTES.search(text)):
                spans = _spans_with_accents(text, spans)
            result.append((self._own(tokens['ids']), trimmed(text, spans)))
        return result


def processor(content: bytes, source: object) -> sentencepiece.SentencePieceProcessor:
    """The model in a file. Raises ValueError naming `source` if the file is not one."""
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise ValueError(f'{source} is not a SentencePiece model ({error})') from error


def pieces_of(model: sentencepiece.SentencePieceProcessor) -> list[str]:
    """The tokens of a model by id."""
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


def is_continuation(piece: str) -> bool:
    """Returns whether the piece continues a word. Punctuation is a word of its own, as in BERT."""
    return not piece.startswith(WORD_MARK) and any(map(str.isalnum, piece))


def without_accents(text: str) -> str:
    """The text with '"' for TeX quotes, in NFKD without combining characters."""
    text = TEX_QUOTES.sub('"', text)
    if text.isascii():
        return text
    decomposed = unicodedata.normalize('NFKD', text)
    return ''.join(char for char in decomposed if not unicodedata.combining(char))


def accentless_starts(text: str) -> list[int]:
    """For each character of `without_accents(text)`, the index in `text` of the character that it
    comes from. The last item is the length of `text`."""
    second_quotes = {match.start() + 1 for match in TEX_QUOTES.finditer(text)}
    starts = [
        i
        for i, char in enumerate(text)
        if i not in second_quotes
        for part in unicodedata.normalize('NFKD', char)
        if not unicodedata.combining(part)
    ]
    return [*starts, len(text)]


def whole_characters(pieces: Sequence[str], spans: Sequence[Span]) -> list[Span]:
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


def _parts(span: Span, parts: Sequence[str]) -> list[Span]:
    """The spans of the pieces that stand for the piece of `span`; `span` if there are none.

    White space at the start of `span` belongs to no piece. If the text has fewer characters than
    the pieces, the last one has its last character, and the others share the remaining ones.
    """
    if not parts:
        return [span]
    start, end = span
    lengths = [len(part.replace(WORD_MARK, '')) for part in parts]
    if end - start < sum(lengths):
        return [(start, end - 1)] * (len(lengths) - 1) + [(end - 1, end)]
    ends = [*itertools.accumulate(lengths, initial=end - sum(lengths))]
    return list(itertools.pairwise(ends))
