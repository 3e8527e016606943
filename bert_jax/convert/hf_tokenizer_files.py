"""The files of a tokenizer that transformers reads."""

import dataclasses
import json
import pathlib
from typing import Any

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bert_jax.convert.hf_tokenizer_kind import FAMILIES
from bert_jax.data.tokenizers import fairseq_sentencepiece, sentencepiece_model, word_bpe
from bert_jax.data.tokenizers.added_tokens import AddedToken, WithAddedTokens
from bert_jax.data.tokenizers.base import MARKER, FastTokenizer, marker
from bert_jax.data.tokenizers.byte_bpe import ByteBPE
from bert_jax.data.tokenizers.sentencepiece_model import WORD_MARK, SentencePiece
from bert_jax.data.tokenizers.tokenizer import Tokenizer
from bert_jax.inference.model_dir import Pretrained

TWO_SEPARATORS = ('roberta', 'xlm-roberta', 'camembert')  # between the texts of a pair
TWO_TYPES = ('bert', 'albert', 'electra', 'xlnet')  # the second text has another token type
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
    # The class is named if it is that of the family. Other vocabularies have a tokenizer.json with
    # everything that transformers needs.
    name, kind = FAMILIES.get(model_type, ('', ''))
    if vocabulary.kind in fairseq_sentencepiece.FIRST:  # also in models of other families
        name, kind = next(x for x in FAMILIES.values() if x[1] == vocabulary.kind)
    settings: dict[str, Any] = {
        'tokenizer_class': name if kind == vocabulary.kind and kind != 'sentencepiece' else None,
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
        files = {fairseq_sentencepiece.PUBLISHED: files[sentencepiece_model.MODEL]}
    if isinstance(vocabulary, word_bpe.WordBPE):
        notes += _word_settings(settings, vocabulary)
    if settings['tokenizer_class'] is None:
        described, more = _fast_tokenizer(vocabulary, model_type)
        notes += more
        settings['tokenizer_class'] = 'PreTrainedTokenizerFast'
        if model_type in TWO_TYPES:  # the generic class leaves token types out by default
            settings['model_input_names'] = ['input_ids', 'token_type_ids', 'attention_mask']
        files = {'tokenizer.json': described.to_str().encode()}
    if isinstance(vocabulary, SentencePiece):
        # bert_jax reads the model, and transformers tokenizer.json.
        options = {'lowercase': vocabulary.lowercase, 'strip_accents': vocabulary.strip_accents}
        content = vocabulary.files[sentencepiece_model.MODEL]
        files |= {'spiece.model': content, **marker(vocabulary.kind, **options)}
    elif MARKER in vocabulary.files and _needs_marker(vocabulary, files):
        files |= vocabulary.files
    for name, content in files.items():
        (directory / name).write_bytes(content)
    settings = {key: value for key, value in settings.items() if value is not None} | added
    (directory / 'tokenizer_config.json').write_text(json.dumps(settings, indent=2) + '\n')
    return notes


def _added(vocabulary: WithAddedTokens) -> dict[str, Any]:
    """Returns the settings of the added tokens and of the special tokens. Without these settings,
    transformers would give them new ids."""
    ids = {piece: i for i, piece in enumerate(vocabulary.pieces)}
    tokens = [*vocabulary.added, *map(AddedToken, vocabulary.special_pieces.all())]
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


def _mask(vocabulary: Tokenizer) -> Any:
    """The mask token for tokenizer_config.json. If tokens contain white space, the white space
    before the mask belongs to it."""
    piece = vocabulary.special_pieces.mask
    if vocabulary.kind in ('wordpiece', *word_bpe.KINDS):
        return piece
    flags = {'lstrip': True, 'rstrip': False, 'single_word': False, 'normalized': False}
    return {'__type': 'AddedToken', 'content': piece, 'special': True, **flags}


def _word_settings(settings: dict[str, Any], vocabulary: word_bpe.WordBPE) -> list[str]:
    """Adds the settings of XLM and FlauBERT; returns lines to print."""
    if settings['tokenizer_class'] is None:
        raise ValueError(
            f'transformers has vocabularies of the kind {vocabulary.kind} for the family '
            f'{vocabulary.kind.removesuffix("_bpe")} only'
        )
    # transformers puts the bos token in front of a text. XLM was trained with </s> there.
    settings['bos_token'] = vocabulary.special_pieces.cls
    rules = vocabulary.rules
    if vocabulary.kind == 'flaubert_bpe':
        settings['do_lowercase'] = rules.lowercase
        return []
    settings['do_lowercase_and_remove_accent'] = rules.lowercase
    if rules.language == 'en':
        return []
    return [f'transformers splits text as English; here it is split as {rules.language!r}']


def _fast_tokenizer(
    vocabulary: Tokenizer, model_type: str
) -> tuple[tokenizers.Tokenizer, list[str]]:
    """A tokenizer of the library `tokenizers` with the special tokens and the row layout of a
    family, and lines to print."""
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
    second = 1 if model_type in TWO_TYPES else 0
    between = f'{names.sep}:0 ' * (2 if model_type in TWO_SEPARATORS else 1)
    before, after = f'{names.cls}:0 ', ''
    if model_type == 'xlnet':
        before, after = '', f' {names.cls}:2'
    made.post_processor = processors.TemplateProcessing(
        single=f'{before}$A:0 {names.sep}:0{after}',
        pair=f'{before}$A:0 {between}$B:{second} {names.sep}:{second}{after}',
        special_tokens=[(names.cls, vocabulary.specials.cls), (names.sep, vocabulary.specials.sep)],
    )
    return made, notes


def _unigram(vocabulary: SentencePiece) -> tuple[tokenizers.Tokenizer, list[str]]:
    """The model for the library `tokenizers`, and lines to print about differences."""
    proto = sentencepiece_model.unigram_proto(
        vocabulary.files[sentencepiece_model.MODEL],
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
