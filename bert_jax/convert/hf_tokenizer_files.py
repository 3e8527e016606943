"""The files of a tokenizer that transformers reads."""

import dataclasses
import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_jax.convert.hf_tokenizer_kind import CASE, FAMILIES, LANGUAGES
from bert_jax.data.tokenizers import (
    fairseq_sentencepiece,
    model_tokenizer,
    sentencepiece_model,
    word_bpe,
)
from bert_jax.data.tokenizers.added_tokens import AddedToken, WithAddedTokens
from bert_jax.data.tokenizers.base import MARKER, marker
from bert_jax.data.tokenizers.byte_bpe import ByteBPE
from bert_jax.data.tokenizers.fast_tokenizer import FastTokenizer
from bert_jax.data.tokenizers.model_tokenizer import WORD_MARK
from bert_jax.data.tokenizers.sentencepiece_model import SentencePiece
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference.model_dir import Pretrained
from bert_jax.inference.rows import ROW_FORMATS, RowFormat, format_of

UNLIKELY = -1e4  # the score of a piece that is never chosen
# The name of a file in transformers, by the kind of the vocabulary and the name in bert_jax. Files
# that are not here have the same name.
NAMES = {
    ('sentencepiece', model_tokenizer.MODEL): 'spiece.model',
    **{
        (kind, model_tokenizer.MODEL): fairseq_sentencepiece.PUBLISHED
        for kind in fairseq_sentencepiece.FIRST
    },
}


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes the vocabulary as transformers reads it; returns lines to print.

    Raises ValueError if transformers has no tokenizer that gives the same ids.
    """
    vocabulary, form = source.vocabulary, format_of(source.config)
    if vocabulary is None:
        return []
    inner = vocabulary.inner if isinstance(vocabulary, WithAddedTokens) else vocabulary
    name, kind = _class_of(inner, source.config.model_type, form), inner.kind
    settings: dict[str, Any] = {
        'tokenizer_class': name or 'PreTrainedTokenizerFast',
        'model_max_length': source.config.longest_row,
        **{f'{role}_token': x for role, x in inner.special_pieces.by_role().items()},
        'padding_side': 'left' if form.pad_left else None,
        'strip_accents': inner.strip_accents,
        'add_prefix_space': inner.add_prefix_space if isinstance(inner, ByteBPE) else None,
    }
    if kind in CASE:
        settings[CASE[kind][0]] = inner.lowercase
    if name and kind in word_bpe.KINDS:  # transformers puts the bos token in front of a text
        settings['bos_token'] = inner.special_pieces.by_role()[form.before[0]]
    elif kind != 'wordpiece':
        settings['mask_token'] = {
            '__type': 'AddedToken',
            **_special(inner.special_pieces.mask, inner),
        }
    if isinstance(vocabulary, WithAddedTokens):
        settings['added_tokens_decoder'] = _added(vocabulary)
    language = LANGUAGES.get(kind, '')
    notes = list[str]()
    if inner.language != language:
        notes.append(
            f'transformers splits text by the rules of {language!r}, and bert_jax by those of '
            f'{inner.language!r}'
        )
    # MARKER has the options with which bert_jax reads the files. Without it, bert_jax reads them as
    # transformers does.
    keeps_marker = name is None or inner.language != language
    files = {
        NAMES.get((kind, file), file): content
        for file, content in inner.files.items()
        if keeps_marker or file != MARKER
    }
    if name is None:
        made, more = _fast_tokenizer(inner, source.config.model_type, form)
        files |= {'tokenizer.json': made.to_str().encode()}
        notes += more
        if len(form.types) > 1:  # the generic class leaves token types out by default
            settings['model_input_names'] = ['input_ids', 'token_type_ids', 'attention_mask']
    if isinstance(inner, SentencePiece):
        # bert_jax reads the model, and transformers tokenizer.json.
        options = {'lowercase': inner.lowercase, 'strip_accents': inner.strip_accents}
        files |= marker(kind, **options)
    for file, content in files.items():
        (directory / file).write_bytes(content)
    settings = {key: value for key, value in settings.items() if value is not None}
    (directory / 'tokenizer_config.json').write_text(json.dumps(settings, indent=2) + '\n')
    return notes


def _class_of(vocabulary: Tokenizer, model_type: str, form: RowFormat) -> str | None:
    """The class of transformers that reads a vocabulary and makes rows of this layout.

    It is None if there is no such class. Then a tokenizer.json is written, which has everything
    that transformers needs.
    """
    owner = model_type
    if vocabulary.kind in fairseq_sentencepiece.FIRST:  # also in models of other families
        owner = next(x for x, (_, kind) in FAMILIES.items() if kind == vocabulary.kind)
    name, kind = FAMILIES.get(owner, ('', ''))
    is_lowercase_bytes = isinstance(vocabulary, ByteBPE) and vocabulary.lowercase
    if kind != vocabulary.kind or kind == 'sentencepiece' or is_lowercase_bytes:
        return None
    return name if kind in word_bpe.KINDS or ROW_FORMATS[owner] == form else None


def _special(piece: str, vocabulary: Tokenizer) -> dict[str, Any]:
    """The settings of a special token for tokenizer_config.json. If the tokens of the vocabulary
    contain white space, the white space before the mask belongs to the mask."""
    has_space = vocabulary.kind not in ('wordpiece', *word_bpe.KINDS)
    lstrip = has_space and piece == vocabulary.special_pieces.mask
    return {'special': True, **dataclasses.asdict(AddedToken(piece, lstrip=lstrip))}


def _added(vocabulary: WithAddedTokens) -> dict[str, Any]:
    """The settings of the special tokens and of the added tokens by id. Without these settings,
    transformers would give them new ids."""
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    tokens = [_special(piece, vocabulary.inner) for piece in vocabulary.special_pieces.all()]
    for token in vocabulary.added:
        tokens.append({'special': not token.normalized, **dataclasses.asdict(token)})
    return {str(ids[token['content']]): token for token in tokens}


def _fast_tokenizer(
    vocabulary: Tokenizer, model_type: str, form: RowFormat
) -> tuple[tokenizers.Tokenizer, list[str]]:
    """A tokenizer of the library `tokenizers` with the special tokens and the layout of rows, and
    lines to print."""
    notes = list[str]()
    if isinstance(vocabulary, SentencePiece):
        made, notes = _unigram(vocabulary)
    elif isinstance(vocabulary, FastTokenizer) and vocabulary.kind not in word_bpe.KINDS:
        made = tokenizers.Tokenizer.from_str(vocabulary.model.to_str())
    else:
        raise ValueError(
            f'transformers has no vocabulary of the kind {vocabulary.kind} for {model_type}'
        )
    mask = vocabulary.special_pieces.mask
    made.add_special_tokens(
        [
            tokenizers.AddedToken(piece, special=True, normalized=False, lstrip=piece == mask)
            for piece in dict.fromkeys(vocabulary.special_pieces.all())
        ]
    )
    made.post_processor = _template(form, vocabulary)
    return made, notes


def _template(form: RowFormat, vocabulary: Tokenizer) -> processors.PostProcessor:
    """The layout of rows in the library `tokenizers`."""
    pieces, ids = vocabulary.special_pieces.by_role(), vocabulary.specials.by_role()

    def row(*types: int) -> str:
        """A row whose segments have these token types."""
        parts = [(role, types[0]) for role in form.before]
        for i, token_type in enumerate(types):
            following = form.between if i < len(types) - 1 else form.after
            parts += [('$' + 'AB'[i], token_type), *((role, token_type) for role in following)]
        if form.pooled_type is not None:
            parts[form.pooled(len(parts))] = ('cls', form.pooled_type)
        return ' '.join(f'{pieces.get(part, part)}:{token_type}' for part, token_type in parts)

    roles = {*form.before, *form.between, *form.after}
    return processors.TemplateProcessing(
        single=row(form.types[0]),
        pair=row(form.types[0], form.types[-1]),
        special_tokens=[(pieces[role], ids[role]) for role in sorted(roles)],
    )


def _unigram(vocabulary: SentencePiece) -> tuple[tokenizers.Tokenizer, list[str]]:
    """The model for the library `tokenizers`, and lines to print about differences."""
    proto = sentencepiece_model.unigram_proto(
        vocabulary.files[model_tokenizer.MODEL],
        'the SentencePiece model is not a unigram model; transformers cannot read it',
    )
    resplit = vocabulary.comma_pieces
    scores = [
        (piece.piece, UNLIKELY if i in resplit else piece.score)
        for i, piece in enumerate(proto.pieces)
    ]
    made = tokenizers.Tokenizer(
        models.Unigram(
            scores, vocabulary.specials.unk, byte_fallback=proto.trainer_spec.byte_fallback
        )
    )
    steps: list[normalizers.Normalizer] = [normalizers.Replace(tokenizers.Regex(r'\s'), ' ')]
    if vocabulary.removes_accents:
        steps += [normalizers.Replace('``', '"'), normalizers.Replace("''", '"')]
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if vocabulary.lowercase:
        steps.append(normalizers.Lowercase())
    if charsmap := proto.normalizer_spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(charsmap))
    steps += [normalizers.Replace(tokenizers.Regex(' {2,}'), ' '), normalizers.Strip()]
    made.normalizer = normalizers.Sequence(steps)
    user = [piece.piece for piece in proto.pieces if piece.type == piece.USER_DEFINED]
    splits: list[pre_tokenizers.PreTokenizer] = [
        pre_tokenizers.Metaspace(WORD_MARK, 'always', split=False)
    ]
    splits += [pre_tokenizers.Split(piece, 'isolated') for piece in user]
    made.pre_tokenizer = pre_tokenizers.Sequence(splits)
    made.decoder = decoders.Metaspace(WORD_MARK, 'always', split=False)
    if not resplit:
        return made, []
    return made, [
        'transformers lacks the rule of ALBERT and XLNet for a comma after a digit: '
        'the ids of a few numbers differ'
    ]
