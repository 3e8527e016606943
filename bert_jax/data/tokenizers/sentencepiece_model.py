"""SentencePiece models, as ALBERT and XLNet have them: tokenizer.model or spiece.model."""

import io
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import sentencepiece
from etils import epath

from bert_jax.data.tokenizers.base import marker
from bert_jax.data.tokenizers.model_tokenizer import (
    MODEL,
    WORD_MARK,
    ModelTokenizer,
    pieces_of,
    processor,
    without_accents,
)
from bert_jax.data.tokenizers.specials import BERT, NAMES, find_specials

MODELS = (MODEL, 'spiece.model')  # the second name is that of ALBERT and XLNet
COVERAGE = 0.9999  # the share of the text's characters that a trained model contains
MAX_LINE = 4096  # characters
LINE = re.compile(rf'\S.{{0,{MAX_LINE}}}(?=\s|$)')
THREADS = 4  # for training; fixed, because the trained model depends on it
WHITE_SPACE = re.compile(r'\s')  # includes more characters than `sentencepiece` treats as a space
# Symbols with a meaning in a row. In some models, text that spells such a symbol is encoded as it.
STRUCTURE = {'<eod>', '<eop>', '<s>', '</s>', *(name for names in NAMES.values() for name in names)}


class SentencePiece(ModelTokenizer):
    """The tokenizer of ALBERT and XLNet.

    content: the model file. Text is normalized first (see `normalized`). Accents are kept if
    `strip_accents` is false, or if it is None and a cased model has accents in its vocabulary;
    otherwise removes_accents is true. Afterwards, a comma that follows a digit becomes a piece of
    its own. Raises ValueError naming `source` if it is not a model or lacks a special token.
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
        model = processor(content, source)
        pieces = pieces_of(model)
        specials = find_specials(
            pieces,
            source,
            'train the model with --control_symbols=[CLS],[SEP],[MASK] --pad_id=3, or use a model '
            'that has them',
        )
        files = {MODEL: content}
        if strip_accents is not None:
            files |= marker(self.kind, lowercase=lowercase, strip_accents=strip_accents)
        self.strip_accents = strip_accents
        self.removes_accents = lowercase or not any(map(_has_accent, pieces))
        if strip_accents is not None:
            self.removes_accents = strip_accents
        self.comma_pieces = {
            i: _without_comma(p, model) for i, p in enumerate(pieces) if _is_comma(p)
        }
        own_ids: list[tuple[int, ...]] = [(i,) for i in range(len(pieces))]
        for i, parts in self.comma_pieces.items():
            own_ids[i] = tuple(map(model.piece_to_id, parts))
        # Text is never encoded as a control symbol of the model, but may be as a user-defined one.
        for i, piece in enumerate(pieces):
            if piece in STRUCTURE and not model.is_control(i):
                own_ids[i] = (specials.unk,)
        super().__init__(model, own_ids, pieces, specials, files, lowercase)

    def decode(self, ids: Sequence[int]) -> str:
        return self.model.decode(list(ids))

    def normalized(self, text: str) -> str:
        return normalized(text, self.lowercase, self.removes_accents)


def _without_comma(piece: str, model: sentencepiece.SentencePieceProcessor) -> list[str]:
    """The pieces that stand for a piece that ends in a digit and a comma.

    The published ALBERT and XLNet were trained with this rule (google-research/albert,
    tokenization.encode_pieces; zihangdai/xlnet, prepro_utils.encode_pieces).
    """
    parts = model.encode_as_pieces(piece[:-1].replace(WORD_MARK, ''))
    if not piece.startswith(WORD_MARK) and parts[0].startswith(WORD_MARK):
        parts = [part for part in (parts[0][1:], *parts[1:]) if part]
    return [*parts, piece[-1]]


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


def _is_comma(piece: str) -> bool:
    """Returns whether the piece ends in a digit and a comma."""
    return len(piece) > 1 and piece[-1] == ',' and piece[-2].isdigit()


def _has_accent(piece: str) -> bool:
    return any(map(unicodedata.combining, unicodedata.normalize('NFKD', piece)))
