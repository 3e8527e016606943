"""The identity of a prepared store: its name in the cache, and whether its text has changed."""

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from bert_jax.config import DataConfig
from bert_jax.data import files
from bert_jax.data.store import format
from bert_jax.data.summary import Document
from bert_jax.data.text import languages, readers
from bert_jax.data.text.source import Source

# The fields of DataConfig, besides the corpus and the vocabulary, that the content depends on.
OPTIONS = ('lowercase', 'text_field', 'documents', 'sentences', 'language', 'holdout')
# Newer fields that change the store. A store's name depends on them only if they differ from their
# defaults, so that older stores keep their names.
LATER_OPTIONS = ('strip_accents', 'tokenizer')


def check_unchanged(data: DataConfig, source: Source, eval_source: Source | None) -> None:
    """Raises ValueError if files of the corpus have changed since the sources were made."""
    now = languages.source(data, fetch=False), readers.eval_source(data, fetch=False)
    for before, after in zip((source, eval_source), now, strict=True):
        if before is not None and after is not None and before.identity != after.identity:
            raise ValueError(
                f'the files of config.data.corpus={data.corpus!r} have changed while they were '
                'read; run the same command again when they are complete'
            )


def earlier_store(
    data: DataConfig, made_from: Mapping[str, Any], cache: pathlib.Path
) -> pathlib.Path | None:
    """Returns the store of a run in the cache, for a corpus that cannot be read any more.

    It is None if the cache does not have the store, or if `data` has another corpus or other
    options.
    """
    options = {key: getattr(data, key) for key in ('corpus', *OPTIONS)}
    if not data.language:  # it is that of the vocabulary, or the default
        del options['language']
    if data.eval_corpus or any(made_from.get(key) != value for key, value in options.items()):
        return None
    store = cache / hash_json(made_from)
    if not (store / format.META).exists():
        return None
    for split in format.SPLITS:
        format.check(store, split)
    return store


def other_text(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Returns the difference which shows, before a corpus is read, that its tokens are not those of
    a store; '' if they may be the same, for example because the files were moved or copied.

    before, now: see `Preparation.made_from`.
    """
    old, new = before.get('vocabulary'), now.get('vocabulary')
    if isinstance(old, dict) and isinstance(new, dict) and old != new:
        return 'the vocabulary has changed'
    for key in ('source', 'eval_source'):
        pair = [_files(made_from.get(key)) for made_from in (before, now)]
        if all(pair) and (difference := _other_files(*pair)):
            return difference
    return ''


def _files(identity: Any) -> dict[str, int]:
    """The size of each file of a source; {} if it does not consist of files."""
    lists = identity.values() if isinstance(identity, dict) else [identity]
    found: dict[str, int] = {}
    for entries in lists:
        for entry in entries if isinstance(entries, list) else ():
            if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[1], int):
                found[str(entry[0])] = entry[1]
    return found


def _other_files(before: Mapping[str, int], now: Mapping[str, int]) -> str:
    """Returns how the content of files has changed; '' if it may be the same. A file that was moved
    has the same size. The sizes of compressed files and of other formats cannot be compared."""
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            return f'{name} has {now[name]:,} bytes, and had {before[name]:,}'
    kinds = {files.kind(pathlib.PurePath(name)) for name in (*before, *now)}
    old, new = sum(before.values()), sum(now.values())
    if len(kinds) > 1 or any(compression for _, compression in kinds) or old == new:
        return ''
    one, other = next(iter(now)), next(iter(before))
    return f'the text ({one}) has {new:,} bytes, and that of the run ({other}) has {old:,}'


def hashes(files: Mapping[str, bytes]) -> dict[str, str]:
    """The hash of each file's content."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}


def hash_json(value: Any) -> str:
    """A hash of a JSON value, 16 digits. A store in the cache has the hash of
    `Preparation.made_from` as its name."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def hash_share(document: Document) -> float:
    """A number in [0, 1); a document is held out if its number is below config.data.holdout.

    The number depends on the text alone, so a document stays in its split if the corpus grows.
    """
    digest = hashlib.sha256('\n'.join(document).encode('utf-8', 'replace')).digest()
    return int.from_bytes(digest[:8], 'big') / 2**64
