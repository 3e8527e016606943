"""SentencePiece models, as ALBERT and XLNet have them: tokenizer.model or spiece.model."""

import io
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import sentencepiece
from etils import epath

from bert_jax.data.tokenizers.base import Span, Tokenizer, marker, trimmed
from bert_jax.data.tokenizers.specials import BERT, NAMES, find_specials

MODEL = 'tokenizer.model'
MODELS = (MODEL, 'spiece.model')  # the second name is that of ALBERT and XLNet
COVERAGE = 0.9999  # the share of the text's characters that a trained model contains
MAX_LINE = 4096  # characters
LINE = re.compile(rf'\S.{{0,{MAX_LINE}}}(?=\s|$)')
THREADS = 4  # for training; fixed, because the trained model depends on it
WORD_MARK = '\u2581'
TEX_QUOTES = re.compile("``|''")
WHITE_SPACE = re.compile(r'\s')  # includes more characters than `sentencepiece` treats as a space
# Symbols with a meaning in a row. In some models, text that spells such a symbol is encoded as it.
STRUCTURE = {'<eod>', '<eop>', '<s>', '</s>', *(name for names in NAMES.values() for name in names)}


class SentencePiece(Tokenizer):
    """A Tokenizer on top of the library `sentencepiece`, as in ALBERT and XLNet.

    content: the model file. Text is normalized first (see `normalized`). Accents are kept if
    `strip_accents` is false, or if it is None and a cased model has accents in its vocabulary;
    otherwise removes_accents is true. Afterwards, a comma that follows a digit becomes a piece of
    its own. comma_pieces: the pieces for which this is done, and what replaces each one (see
    `_without_comma`). Raises ValueError naming `source` if it is not a model or lacks a special
    token.
    """

    kind = 'sentencepiece'
    revision = 2

    def __init__(
        self,
        content: bytes,
        lowercase: bool,
        strip_accents: bool | None = None,
        source: object = 'the vocabulary',
    ):
        self.model = processor(content, source)
        pieces = [self.model.id_to_piece(i) for i in range(self.model.get_piece_size())]
        specials = find_specials(
            pieces,
            source,
            'train the model with --control_symbols=[CLS],[SEP],[MASK] --pad_id=3, or use a model '
            'that has them',
        )
        special = set(specials.all())
        continues = np.array(
            [i not in special and is_continuation(piece) for i, piece in enumerate(pieces)]
        )
        files = {MODEL: content}
        if strip_accents is not None:
            files |= marker(self.kind, lowercase=lowercase, strip_accents=strip_accents)
        super().__init__(pieces, specials, continues, files, lowercase)
        # Text is never encoded as a control symbol of the model, but may be as a user-defined one.
        structure = {i for i, piece in enumerate(pieces) if piece in STRUCTURE}
        self._spelled = {i for i in structure if not self.model.is_control(i)}
        self.strip_accents = strip_accents
        self.removes_accents = lowercase or not any(map(_has_accent, pieces))
        if strip_accents is not None:
            self.removes_accents = strip_accents
        self.comma_pieces = {
            i: self._without_comma(p) for i, p in enumerate(pieces) if _is_comma(p)
        }

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode(list(ids))

    def _without_comma(self, piece: str) -> tuple[list[int], list[int]]:
        """The ids of the tokens that stand for a piece that ends in a digit and a comma, and the
        number of characters of each one.

        The published ALBERT and XLNet were trained with this rule (google-research/albert,
        tokenization.encode_pieces; zihangdai/xlnet, prepro_utils.encode_pieces).
        """
        parts = self.model.encode_as_pieces(piece[:-1].replace(WORD_MARK, ''))
        if not piece.startswith(WORD_MARK) and parts[0].startswith(WORD_MARK):
            parts = [part for part in (parts[0][1:], *parts[1:]) if part]
        parts.append(piece[-1])
        ids = [self.model.piece_to_id(part) for part in parts]
        return ids, [len(part.replace(WORD_MARK, '')) for part in parts]

    def _normalised(self, texts: Sequence[str]) -> list[str]:
        return [normalized(text, self.lowercase, self.removes_accents) for text in texts]

    def _replaced(self, ids: list[int]) -> list[int]:
        """The ids after the rule for commas, without special tokens that only rows may contain."""
        if not self.comma_pieces.keys().isdisjoint(ids):
            ids = [part for i in ids for part in (self.comma_pieces.get(i) or ((i,), ()))[0]]
        if not self._spelled.isdisjoint(ids):
            ids = [self.specials.unk if i in self._spelled else i for i in ids]
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        encoded = self.model.encode(self._normalised(texts), num_threads=-1)
        return [self._replaced(ids) for ids in encoded]

    def encode_offsets(self, texts: Sequence[str]) -> list[tuple[list[int], list[Span]]]:
        encoded = self.model.encode(
            self._normalised(texts), return_type='offset_mapping', num_threads=-1
        )
        result = []
        for text, tokens in zip(texts, encoded, strict=True):
            whole = whole_characters(tokens['pieces'], tokens['offsets'])
            spans = [
                part
                for i, span in zip(tokens['ids'], whole, strict=True)
                for part in (
                    _parts(span, self.comma_pieces[i][1]) if i in self.comma_pieces else (span,)
                )
            ]
            if self.removes_accents and (not text.isascii() or TEX_QUOTES.search(text)):
                spans = _spans_with_accents(text, spans)
            result.append((self._replaced(tokens['ids']), trimmed(text, spans)))
        return result


def processor(content: bytes, source: object) -> sentencepiece.SentencePieceProcessor:
    """The model in a file. Raises ValueError naming `source` if the file is not one."""
    try:
        return sentencepiece.SentencePieceProcessor(model_proto=content)
    except RuntimeError as error:
        raise ValueError(f'{source} is not a SentencePiece model ({error})') from error


def unigram_proto(content: bytes, problem: str) -> Any:
    """The ModelProto of a unigram model. For another kind of model, raises ValueError with the text
    `problem`."""
    from sentencepiece import sentencepiece_model_pb2

    proto: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    proto.ParseFromString(content)
    if proto.trainer_spec.model_type != proto.trainer_spec.UNIGRAM:
        raise ValueError(problem)
    return proto


def read(path: epath.Path, lowercase: bool, strip_accents: bool | None = None) -> SentencePiece:
    """The vocabulary in a model file. Raises ValueError as SentencePiece does."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ValueError(f'{path} is not a SentencePiece model ({error})') from error
    return SentencePiece(content, lowercase, strip_accents, path)


def read_folder(folder: epath.Path, **options: Any) -> SentencePiece:
    """The vocabulary in a folder, in a file with a name of MODELS. Raises ValueError as `read`."""
    path = next((folder / name for name in MODELS if (folder / name).exists()), folder / MODEL)
    return read(path, **options)


def train(
    texts: Sequence[str], vocab_size: int, lowercase: bool, strip_accents: bool | None = None
) -> SentencePiece:
    """A unigram model of at most `vocab_size` tokens, learned from `texts`, in ALBERT's layout.

    The same texts give the same model in every process. Raises ValueError if there is no text or if
    `vocab_size` is too small.
    """
    strips = lowercase if strip_accents is None else strip_accents
    lines = (line for text in texts for line in LINE.findall(normalized(text, lowercase, strips)))
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=lines,
            model_writer=model,
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            pad_id=0,
            unk_id=1,
            bos_id=-1,
            eos_id=-1,
            pad_piece='<pad>',
            unk_piece='<unk>',
            control_symbols=[BERT.cls, BERT.sep, BERT.mask],
            user_defined_symbols=list('()"-.–£€'),
            character_coverage=COVERAGE,
            max_sentence_length=4 * MAX_LINE + 4,  # in bytes; longer lines would be left out
            num_threads=THREADS,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise ValueError(
            f'no SentencePiece vocabulary of {vocab_size} tokens can be trained on this text '
            f'({error}); change the vocabulary size (config.model.vocab_size, --vocab_size), or '
            'give more text'
        ) from error
    return SentencePiece(model.getvalue(), lowercase, strip_accents)


def normalized(text: str, lowercase: bool, strip_accents: bool) -> str:
    """The text with every white space as a space, without accents and in lower case if asked
    for."""
    text = WHITE_SPACE.sub(' ', text)
    if strip_accents:
        text = without_accents(text)
    return text.lower() if lowercase else text


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


def _is_comma(piece: str) -> bool:
    """Returns whether the piece ends in a digit and a comma."""
    return len(piece) > 1 and piece[-1] == ',' and piece[-2].isdigit()


def _parts(span: Span, lengths: Sequence[int]) -> list[Span]:
    """The spans of consecutive parts of `span` that have `lengths` characters.

    White space at the start of `span` belongs to no part. If the text has fewer characters than the
    parts, the last part is its last character, and the others share the remaining ones.
    """
    start, end = span
    if end - start < sum(lengths):
        return [(start, end - 1)] * (len(lengths) - 1) + [(end - 1, end)]
    ends = [*itertools.accumulate(lengths, initial=end - sum(lengths))]
    return list(itertools.pairwise(ends))


def is_continuation(piece: str) -> bool:
    """Returns whether the piece continues a word. Punctuation is a word of its own, as in BERT."""
    return not piece.startswith(WORD_MARK) and any(map(str.isalnum, piece))


def _has_accent(piece: str) -> bool:
    return any(map(unicodedata.combining, unicodedata.normalize('NFKD', piece)))
