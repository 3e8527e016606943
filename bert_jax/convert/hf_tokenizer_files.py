"""The files of a tokenizer that transformers reads."""

import dataclasses
import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_jax.convert.hf_tokenizer_kind import FAMILIES
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


def write(directory: pathlib.Path, source: Pretrained) -> list[str]:
    """Writes the vocabulary as transformers reads it; returns lines to print.

    Raises ValueError if transformers has no tokenizer that gives the same ids.
    """
    vocabulary, model_type = source.vocabulary, source.config.model_type
    if vocabulary is None:
        return []
    added: dict[str, Any] = {}
    if isinstance(vocabulary, WithAddedTokens):
        added, vocabulary = _added(vocabulary), vocabulary.inner
    notes = list[str]()
    files = {name: x for name, x in vocabulary.files.items() if name != MARKER}
    form = format_of(source.config)
    settings: dict[str, Any] = {
        'tokenizer_class': _class_of(vocabulary, model_type, form),
        # RoBERTa's table has two more positions than it can use.
        'model_max_length': getattr(
            source.config, 'longest_row', source.config.max_position_embeddings
        ),
        **{f'{role}_token': x for role, x in vocabulary.special_pieces.by_role().items()},
    }
    settings['mask_token'] = _mask(vocabulary)
    if model_type == 'xlnet':
        settings['padding_side'] = 'left'
    if vocabulary.kind in ('wordpiece', 'sentencepiece'):
        settings['do_lower_case'] = vocabulary.lowercase
        settings['strip_accents'] = vocabulary.strip_accents
    if isinstance(vocabulary, ByteBPE):
        settings['add_prefix_space'] = vocabulary.add_prefix_space
        if vocabulary.lowercase:
            settings['tokenizer_class'] = None
    if vocabulary.kind in fairseq_sentencepiece.FIRST:
        files = {fairseq_sentencepiece.PUBLISHED: files[model_tokenizer.MODEL]}
    if isinstance(vocabulary, word_bpe.WordBPE):
        notes += _word_settings(settings, vocabulary, form)
    if settings['tokenizer_class'] is None:
        described, more = _fast_tokenizer(vocabulary, model_type, form)
        notes += more
        settings['tokenizer_class'] = 'PreTrainedTokenizerFast'
        if len(form.types) > 1:  # the generic class leaves token types out by default
            settings['model_input_names'] = ['input_ids', 'token_type_ids', 'attention_mask']
        files = {'tokenizer.json': described.to_str().encode()}
    if isinstance(vocabulary, SentencePiece):
        # bert_jax reads the model, and transformers tokenizer.json.
        options = {'lowercase': vocabulary.lowercase, 'strip_accents': vocabulary.strip_accents}
        content = vocabulary.files[model_tokenizer.MODEL]
        files |= {'spiece.model': content, **marker(vocabulary.kind, **options)}
    elif MARKER in vocabulary.files and _needs_marker(vocabulary, files):
        files |= vocabulary.files
    for name, content in files.items():
        (directory / name).write_bytes(content)
    settings = {key: value for key, value in settings.items() if value is not None} | added
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
    if kind != vocabulary.kind or kind == 'sentencepiece':
        return None
    return name if kind in word_bpe.KINDS or ROW_FORMATS[owner] == form else None


def _added(vocabulary: WithAddedTokens) -> dict[str, Any]:
    """Returns the settings of the added tokens and of the special tokens. Without these settings,
    transformers would give them new ids."""
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    mask, has_space = vocabulary.special_pieces.mask, _has_space(vocabulary.inner)
    specials = vocabulary.special_pieces.all()
    tokens = [AddedToken(piece, lstrip=has_space and piece == mask) for piece in specials]
    tokens += vocabulary.added
    return {
        'added_tokens_decoder': {
            str(ids[token.content]): {'special': not token.normalized, **dataclasses.asdict(token)}
            for token in tokens
        }
    }


def _needs_marker(vocabulary: Tokenizer, files: dict[str, bytes]) -> bool:
    """Returns whether bert_jax needs a file of its own beside those of transformers."""
    if isinstance(vocabulary, word_bpe.WordBPE):
        return vocabulary.rules.language not in ('en', 'fr')
    return vocabulary.kind != 'tokenizer_json' and 'tokenizer.json' in files


def _has_space(vocabulary: Tokenizer) -> bool:
    """Returns whether tokens may contain the white space before a word."""
    return vocabulary.kind not in ('wordpiece', *word_bpe.KINDS)


def _mask(vocabulary: Tokenizer) -> Any:
    """The mask token for tokenizer_config.json. If tokens contain white space, the white space
    before the mask belongs to it."""
    piece = vocabulary.special_pieces.mask
    if not _has_space(vocabulary):
        return piece
    flags = {'lstrip': True, 'rstrip': False, 'single_word': False, 'normalized': False}
    return {'__type': 'AddedToken', 'content': piece, 'special': True, **flags}


def _word_settings(
    settings: dict[str, Any], vocabulary: word_bpe.WordBPE, form: RowFormat
) -> list[str]:
    """Adds the settings of XLM and FlauBERT; returns lines to print."""
    if settings['tokenizer_class'] is None:
        raise ValueError(
            f'transformers has vocabularies of the kind {vocabulary.kind} for the family '
            f'{vocabulary.kind.removesuffix("_bpe")} only'
        )
    # transformers puts the bos token in front of a text.
    settings['bos_token'] = vocabulary.special_pieces.by_role()[form.before[0]]
    rules = vocabulary.rules
    if vocabulary.kind == 'flaubert_bpe':
        settings['do_lowercase'] = rules.lowercase
        return []
    settings['do_lowercase_and_remove_accent'] = rules.lowercase
    if rules.language == 'en':
        return []
    return [f'transformers splits text as English; here it is split as {rules.language!r}']


def _fast_tokenizer(
    vocabulary: Tokenizer, model_type: str, form: RowFormat
) -> tuple[tokenizers.Tokenizer, list[str]]:
    """A tokenizer of the library `tokenizers` with the special tokens and the layout of rows, and
    lines to print."""
    notes = list[str]()
    if isinstance(vocabulary, FastTokenizer):
        made = tokenizers.Tokenizer.from_str(vocabulary.model.to_str())
    elif isinstance(vocabulary, SentencePiece):
        made, notes = _unigram(vocabulary)
    else:
        raise ValueError(
            f'transformers has no vocabulary of the kind {vocabulary.kind} for {model_type}'
        )
    names = vocabulary.special_pieces
    made.add_special_tokens(
        [
            tokenizers.AddedToken(piece, special=True, normalized=False, lstrip=piece == names.mask)
            for piece in dict.fromkeys(names.all())
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
