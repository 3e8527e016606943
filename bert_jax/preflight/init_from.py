"""Pretraining that starts from a checkpoint, config.init_from: which settings it takes from it."""

import dataclasses
import hashlib

from etils import epath

from bert_jax.config import Config, validate
from bert_jax.config.build_once import build_once
from bert_jax.config.console import plural
from bert_jax.data import model_languages
from bert_jax.data.text import staging
from bert_jax.data.tokenizers import added_words, tokenizer
from bert_jax.inference import model_dir
from bert_jax.preflight import distillation
from bert_jax.training.workdir import CONFIG

SHOWN = 5  # new tokens in the log


def start_from(config: Config, own: epath.Path | None = None) -> Config:
    """`config` with the architecture, the vocabulary and the case of config.init_from. Raises
    ValueError for settings that differ from those of init_from.

    own: the folder of the run, None for a new run. A run that has begun keeps the vocabulary that
    is in its folder.
    """
    source = epath.Path(config.init_from).expanduser() / CONFIG
    if not config.init_from or not source.exists():
        return distillation.with_teacher(config)
    started, vocabulary = model_dir.start_from(config, free=('model.vocab_size',))
    data = started.data
    if vocabulary is not None and not data.vocab_file and not data.corpus.startswith('tokens:'):
        data = dataclasses.replace(data, vocab_file=str(source.parent))
    if data.add_tokens:
        data = dataclasses.replace(data, vocab_file=_extended_vocabulary(config, vocabulary, own))
    # A model without languages accepts any language, because the sentence splitter reads it, too.
    has_languages = started.model.languages or model_languages.has_embeddings(started.model)
    if config.data.language and has_languages and vocabulary is not None:
        model_languages.check(config.data.language, started.model, vocabulary)
    distillation.check_positions(config, started.model.longest_row, 'config.init_from')
    return validate(distillation.with_teacher(dataclasses.replace(started, data=data)))


def _extended_vocabulary(
    config: Config, vocabulary: tokenizer.Tokenizer | None, own: epath.Path | None
) -> str:
    """The folder of the vocabulary that includes the words of config.data.add_tokens: `own` if it
    has such a vocabulary, or a folder in the cache. Raises ValueError if words cannot be added."""
    if vocabulary is None:
        raise ValueError(f'config.data.add_tokens: {config.init_from} has no vocabulary')
    if config.data.vocab_file:
        raise ValueError(
            'config.data.add_tokens adds to the vocabulary of config.init_from; remove '
            f'config.data.vocab_file={config.data.vocab_file}'
        )
    words = added_words.read(config.data.add_tokens)
    if own is not None and (own / CONFIG).exists():
        saved, its = model_dir.read_config(own)
        if its is not None:
            _check_same_words(saved.data.add_tokens, words, its, own)
            return str(own)
    larger = added_words.larger(vocabulary, words)
    rules = vocabulary.lowercase, vocabulary.strip_accents
    state = repr((sorted(larger.files.items()), rules)).encode()
    cache = staging.cache_of(config.data) / 'vocabularies'
    folder = cache / hashlib.sha256(state).hexdigest()[:16]
    doing = 'writing the vocabulary with config.data.add_tokens'
    build_once(folder, larger.save, doing, folder.exists)
    return str(folder)


def _check_same_words(
    former: str, words: list[str], its: tokenizer.Tokenizer, own: epath.Path
) -> None:
    """Raises ValueError if the words are not those with which the run in `own` began. former: its
    config.data.add_tokens. its: its vocabulary."""
    try:
        before = {*added_words.read(former)}
    except ValueError:  # a file that is gone
        before = {*words}
    encoded = zip(words, its.encode_words(words), strict=True)
    missing = {word for word, ids in encoded if len(ids) != 1 or ids == [its.specials.unk]}
    if different := sorted(missing | ({*words} ^ before)):
        raise ValueError(
            f'config.data.add_tokens has other words than the run in {own} began with: '
            f'{", ".join(different[:SHOWN])}{", ..." if len(different) > SHOWN else ""}; set it to '
            f'{former!r}, or use another --workdir'
        )


def _continues(old: tokenizer.Tokenizer, new: tokenizer.Tokenizer) -> bool:
    """Returns whether the tokens of `old` have the same ids in `new`. In `new`, further tokens may
    follow them, and placeholders such as [unused1] may be replaced by other tokens."""
    kept = {*old.ordinary_ids.tolist(), *old.specials.all()}
    pairs = enumerate(zip(old.pieces, new.pieces, strict=False))
    same = all(one == other or number not in kept for number, (one, other) in pairs)
    return same and len(old.pieces) <= len(new.pieces)


def new_names(config: Config, vocabulary: tokenizer.Tokenizer | None) -> str:
    """A line for the log about the tokens that the vocabulary of config.init_from does not have; ''
    if there are none, or if config.data.add_tokens adds them."""
    source = epath.Path(config.init_from).expanduser()
    if vocabulary is None or config.data.add_tokens or not config.init_from:
        return ''
    old = model_dir.read_config(source)[1] if (source / CONFIG).exists() else None
    new = sorted({*vocabulary.pieces} - {*old.pieces}) if old else []
    shown = ', '.join(new[:SHOWN]) + (', ...' if len(new) > SHOWN else '')
    return f'{plural(len(new), "token")} that init_from does not have: {shown}' if new else ''


def vocab_size(config: Config, vocabulary: tokenizer.Tokenizer) -> int:
    """The padded number of token embeddings: the number for `vocabulary` or, if larger, the number
    in config.init_from.

    Raises ValueError if config.init_from was trained with another vocabulary or another case.
    """
    size, source = vocabulary.vocab_size, epath.Path(config.init_from).expanduser()
    if not config.init_from or not (source / CONFIG).exists():
        return config.data.padded(size)
    trained, theirs = model_dir.read_config(source)
    if theirs is None:
        return config.data.padded(max(trained.model.vocab_size, size))
    # Only the list of a WordPiece vocabulary may become longer without add_tokens.
    may_be_longer = bool(config.data.add_tokens) or vocabulary.kind == 'wordpiece'
    fits = may_be_longer or theirs.files == vocabulary.files
    if not fits or not _continues(theirs, vocabulary):
        raise ValueError(
            f'config.init_from={config.init_from} has another vocabulary than the corpus; tokenize '
            'the corpus with the vocabulary of init_from: '
            f'--config.data.vocab_file={tokenizer.find(source)}'
        )
    if theirs.lowercase != vocabulary.lowercase:
        raise ValueError(
            f'config.init_from={config.init_from} was trained with '
            f'data.lowercase={theirs.lowercase}, but the corpus with {vocabulary.lowercase}; set '
            f'--config.data.lowercase={theirs.lowercase}'
        )
    return config.data.padded(max(trained.model.vocab_size, size))
