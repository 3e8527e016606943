"""Corpora of several languages, and corpora of sentence pairs that are translations.

`config.data.corpus` may name the text of each language ('en=text:en/*.txt,fr=text:fr/*.txt'), and
`config.data.parallel` pairs of languages ('en-fr=text:en-fr.tsv'). Each language and each pair is a
part of one corpus, with one vocabulary.
"""

import dataclasses
import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence

from etils import epath

from bert_jax.config import Config, DataConfig, ModelConfig, keys
from bert_jax.config.errors import config_error
from bert_jax.config.needs import NAMED as NAMED
from bert_jax.config.needs import NEXT
from bert_jax.data import files, model_languages
from bert_jax.data.summary import Document, Summary
from bert_jax.data.text import readers
from bert_jax.data.text.source import Source

PAIR = re.compile(r'([a-z]{2,3})-([a-z]{2,3})=text:([^|]+)(?:\|text:([^|]+))?')
VOCAB_ALPHA = 0.5  # for the vocabulary's text (Conneau and Lample, 2019, section 3.1)
UNKNOWN_SIZE = 1 << 20  # characters, for a source whose size is not known


def source(data: DataConfig, fetch: bool = True) -> Source:
    """The source that `config.data.corpus` and `config.data.parallel` name, with its parts.

    Raises ValueError as `readers.source` does, or if the languages are not clear.
    """
    if not NAMED.match(data.corpus):
        if data.parallel:
            expected = "the language in front, for example 'en=text:FOLDER', beside data.parallel"
            raise config_error('data.corpus', data.corpus, expected)
        return readers.source(data, fetch)
    if data.eval_corpus:
        expected = "'' beside a corpus of several languages, which holds out a share of each one"
        raise config_error('data.eval_corpus', data.eval_corpus, expected)
    parts = dict[str, Source]()
    for named in NEXT.split(data.corpus):
        language, _, corpus = named.partition('=')
        if language in parts:
            raise config_error('data.corpus', data.corpus, f'{language} once; braces list files')
        one = dataclasses.replace(data, corpus=corpus, language=language)
        parts[language] = readers.source(one, fetch)
    for pair in NEXT.split(data.parallel) if data.parallel else ():
        name, _, _ = pair.partition('=')
        if name in parts:
            raise config_error('data.parallel', data.parallel, f'{name} once')
        parts[name] = _pairs(pair, data)

    def read(summary: Summary) -> Iterator[Document]:
        for part in parts.values():
            yield from part.read(summary)

    identity = {name: part.identity for name, part in parts.items()}
    size = sum(part.size for part in parts.values())
    return Source(read, identity, size, sum(part.characters for part in parts.values()), parts)


def of_part(name: str, default: str = '') -> tuple[str, ...]:
    """The languages of a part: one, or the two of a pair; `default` if `name` is empty."""
    return tuple((name or default).split('-'))


def numbered(names: Sequence[str]) -> list[str]:
    """All languages of a corpus. The index of a language in this list is its id in rows."""
    return list(dict.fromkeys(language for name in names if name for language in of_part(name)))


def is_pair(name: str) -> bool:
    """Returns whether a part is pairs of translations, by its name."""
    return len(of_part(name)) > 1


def row_shares(sizes: Mapping[str, int], data: DataConfig) -> dict[str, float]:
    """The share of rows of each part in training. sizes: the number of its chunks."""
    pairs = {name: size for name, size in sizes.items() if is_pair(name)}
    texts = {name: size for name, size in sizes.items() if name not in pairs}
    share = data.tlm_share if pairs else 0.0
    of_texts, of_pairs = (shares(part, data.language_alpha) for part in (texts, pairs))
    return {
        name: share * of_pairs[name] if name in pairs else (1 - share) * of_texts[name]
        for name in sizes
    }


def check(names: Sequence[str], config: Config) -> None:
    """Raises ValueError if the parts do not fit the objective or the model. names: the names of all
    parts."""
    if config.objective == 'mlm+tlm' and not any(map(is_pair, names)):
        expected = "pairs of sentences, for example 'en-fr=text:FILE', for the objective 'mlm+tlm'"
        raise config_error('data.parallel', config.data.parallel, expected)
    if config.objective != 'mlm+tlm' and any(map(is_pair, names)):
        expected = f"'mlm+tlm', because the corpus has pairs of sentences ({', '.join(names)})"
        raise config_error('objective', config.objective, expected)
    model, languages = config.model, numbered(names)
    if not has_numbers(names, model):
        return
    known = model.language_names or languages
    if len(known) != model.type_vocab_size:
        expected = (
            f'{len(known)}, an embedding for each of {", ".join(known)}, or 0 for a model without '
            'embeddings of languages'
        )
        raise config_error('model.type_vocab_size', model.type_vocab_size, expected)
    key = 'data.corpus' if languages else 'data.language'
    of_text = languages or [config.data.language or known[0]]
    if unknown := [language for language in of_text if language not in known]:
        without = f'languages of the model, without {", ".join(unknown)}'
        expected = f'{without}; it has {", ".join(known)}'
        raise config_error(key, keys.get(config, key), expected)


def with_names(names: Sequence[str], config: Config) -> Config:
    """The configuration with the names of the languages, if the model has numbers for them and does
    not name them. names: the names of all parts of the corpus."""
    if config.model.languages or not has_numbers(names, config.model):
        return config
    model = dataclasses.replace(config.model, languages=','.join(numbered(names)))
    return dataclasses.replace(config, model=model)


def has_numbers(names: Sequence[str], model: ModelConfig) -> bool:
    """Returns whether the token types of rows are the numbers of their languages, as in XLM."""
    several = bool(model.languages) or len(numbered(names)) > 1
    return model_languages.has_embeddings(model) and several


def names_of(data: DataConfig) -> list[str]:
    """The names of the parts of `config.data.corpus` and `.parallel`; [] for a single text."""
    if not NAMED.match(data.corpus):
        return []
    named = NEXT.split(data.corpus) + (NEXT.split(data.parallel) if data.parallel else [])
    return [part.partition('=')[0] for part in named]


def shares(sizes: Mapping[str, int], alpha: float) -> dict[str, float]:
    """The share of each part, proportional to its size raised to the power alpha; the sum is 1."""
    powers = {name: float(max(size, 1)) ** alpha for name, size in sizes.items()}
    return {name: power / sum(powers.values()) for name, power in powers.items()}


def vocabulary_characters(parts: Mapping[str, Source], most: int) -> dict[str, int]:
    """The number of characters of each part that a vocabulary is trained on, together at most
    `most`."""
    sizes = {name: part.characters or UNKNOWN_SIZE for name, part in parts.items()}
    share = shares(sizes, VOCAB_ALPHA)
    if len(parts) == 1:
        return dict.fromkeys(parts, most)
    total = min(most, *(int(size / share[name]) for name, size in sizes.items()))
    return {name: max(int(total * share[name]), 1) for name in parts}


def _pairs(named: str, data: DataConfig) -> Source:
    """The pairs of sentences in a file of two columns, or in two files with the same number of
    lines."""
    match = PAIR.fullmatch(named)
    if not match or match[1] == match[2]:
        expected = "'en-fr=text:FILE' with two columns, or 'en-fr=text:FILE|text:FILE'"
        raise config_error('data.parallel', data.parallel, expected)
    paths = [epath.Path(os.path.expanduser(path)) for path in match.groups()[2:] if path]
    for path in paths:
        if path.is_dir() or not path.exists():
            raise ValueError(
                f'config.data.parallel: {path} is not a file; expected a file of two columns with '
                'a tab between them, or two files with a sentence on each line'
            )

    def read(summary: Summary) -> Iterator[Document]:
        decoder = files.Decoder(summary)
        summary.count('files', number=len(paths))
        lines = [readers.lines(path, str(path), -1, summary, decoder) for path in paths]
        numbered_pairs = _columns(paths[0], lines[0]) if len(paths) == 1 else _zipped(paths, lines)
        for number, pair in numbered_pairs:
            if all(pair):
                yield pair
            else:
                where = f'{paths[0]}:{number}'
                summary.count('pairs without one of the two sentences, left out', where)
        decoder.finish()

    stats = [path.stat() for path in paths]
    identity = [[str(path), s.length, s.mtime] for path, s in zip(paths, stats, strict=True)]
    compressed = readers.COMPRESSED if files.kind(paths[0])[1] else 1
    size = sum(s.length for s in stats)
    return Source(read, identity, size, size * compressed)


def _columns(path: epath.Path, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        columns = [column.strip() for column in line.split('\t')]
        if line and len(columns) > 2:
            raise ValueError(
                f'{path}:{number} has {len(columns)} columns; expected two sentences with a tab '
                'between them'
            )
        yield number, [*columns, ''][:2]


def _zipped(
    paths: Sequence[epath.Path], lines: Sequence[Iterator[tuple[int, str]]]
) -> Iterator[tuple[int, list[str]]]:
    for number, rows in enumerate(itertools.zip_longest(*lines), 1):
        if None in rows:
            short, long = paths if rows[0] is None else paths[::-1]
            raise ValueError(
                f'{long}:{number} has no partner: {short} ends after line {number - 1}. Line n of '
                'one file must be the translation of line n of the other one; correct the files'
            )
        yield number, [line for _, line in rows]
