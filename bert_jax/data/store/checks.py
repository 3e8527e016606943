"""Checks before a store is prepared or used: held-out text, enough documents, a store as given."""

import pathlib
from collections.abc import Mapping
from typing import Any

from etils import epath

from bert_jax.config import DataConfig
from bert_jax.config.console import plural, say
from bert_jax.data.store import format, identity
from bert_jax.data.store.identity import LATER_OPTIONS, OPTIONS
from bert_jax.data.summary import Summary
from bert_jax.data.text.source import Source


def check_holdout(data: DataConfig) -> None:
    """Raises ValueError if a run would have no documents to evaluate on."""
    if not data.holdout and not data.eval_corpus and not data.corpus.startswith('tokens:'):
        raise ValueError(
            'config.data.holdout is 0; evaluation needs a share of the documents, or text of its '
            'own (config.data.eval_corpus)'
        )


def check_documents(source: Source, data: DataConfig, needed: int = 2) -> None:
    """Raises ValueError if one of the splits would have fewer than `needed` documents.

    Documents of each part are read until both splits have enough of them.
    """
    for name, part in source.by_name.items() if data.holdout and not data.eval_corpus else ():
        _check_part(part, name, data, needed)


def _check_part(source: Source, name: str, data: DataConfig, needed: int) -> None:
    shares, held_out, lines, summary = list[float](), 0, 0, Summary()
    for document in source.read(summary):
        lines += len(document)
        shares.append(identity.hash_share(document))
        held_out += shares[-1] < data.holdout
        if min(held_out, len(shares) - held_out) >= needed:
            return
    if not shares:
        return  # the preparation raises an error that says what was read
    different, of = sorted(set(shares)), f' of {name}' if name else ''
    if len(different) < 2 * needed:
        remedy = 'Give'
    else:
        works = sum(different[needed - 1 : needed + 1]) / 2
        remedy = f'Set config.data.holdout (--holdout) to {works:.4f}, give'
    by_line = ''
    if data.documents != 'line' and len(shares) < 2 * needed <= lines:
        by_line = '=line, if each line is a document'
    counts = [f'{what}: {n:,}' for what, n in summary.lines().items() if what != 'files']
    counted = f'. Counted: {"; ".join(counts)}' if counts else ''
    documents = plural(len(shares), 'document')
    raise ValueError(
        f'config.data.corpus={data.corpus!r} has {documents}{of}. '
        f'config.data.holdout={data.holdout} holds out {held_out} of them for evaluation, but '
        f'{format.purpose(needed)} needs {2 * needed} different ones: {needed} to train on and '
        f'{needed} to evaluate on. {remedy} more text, separate documents in another way '
        f'(config.data.documents{by_line}), or name text to evaluate on (config.data.eval_corpus)'
        f'{counted}'
    )


def check_same_text(
    data: DataConfig,
    of_run: Mapping[str, Any],
    wanted: Mapping[str, Any],
    workdir: epath.Path,
    cache: pathlib.Path,
    beginning: str = '',
) -> None:
    """Raises ValueError if a corpus that is not prepared yet cannot be the corpus of the run in the
    workdir. So the run is refused before the preparation, which may take hours.

    of_run: the content of corpus.json. wanted: `Preparation.made_from` of the store that would be
    prepared. beginning: see `Beginning`; '' if it is not known yet.
    """
    made_from, before = of_run.get('made_from') or {}, of_run.get('beginning')
    other = identity.other_text(made_from, wanted)
    if not other and before and beginning and before != beginning:
        other = 'its beginning has changed'
    if not other:
        return
    store, advice = cache / identity.hash_json(made_from), ''
    if (store / format.META).exists():
        advice = f'. To continue with the text of the run: --config.data.corpus=tokens:{store}'
        advice += ', without config.data.vocab_file' if data.vocab_file else ''
    raise ValueError(
        f'{workdir} holds a run on other text: {other}. Put the text back, use another --workdir, '
        f'or give --start_over, which keeps the files of the earlier run{advice}'
    )


def check_tokens(data: DataConfig, directory: epath.PathLike) -> None:
    """Checks a store that the user gives. Prints the options with which it was made, where `data`
    has other values.

    Raises ValueError if the store is damaged, or if `data` names a vocabulary.
    """
    for split in format.SPLITS:
        format.check(directory, split)
    if data.vocab_file:
        raise ValueError(
            f'config.data.vocab_file={data.vocab_file}: {directory} is tokenized already, with a '
            'vocabulary of its own; remove the key, or prepare the text again'
        )
    meta = format.read_meta(directory)
    made_from = meta.made_from
    used = {k: made_from[k] for k in (*OPTIONS, *LATER_OPTIONS) if k in made_from}
    if not data.language:  # any language fits
        used.pop('language', None)
    other = [f'{key}={value}' for key, value in used.items() if value != getattr(data, key)]
    if other:
        say(f'{directory} was made with {", ".join(other)}')
    if data.language_alpha != DataConfig.language_alpha and len(meta.parts) < 2:
        say(
            f'config.data.language_alpha={data.language_alpha} has no effect: {directory} has one '
            'language'
        )
