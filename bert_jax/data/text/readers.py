"""Corpora as documents, which are lists of lines: files, TFDS and the built-in texts."""

import dataclasses
import json
import os
import pathlib
import re
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn

from bert_jax.config import DataConfig
from bert_jax.data import files, patterns
from bert_jax.data.labelled.json_files import loads, short
from bert_jax.data.summary import Document, Summary
from bert_jax.data.text import builtin, markup, staging, tfds
from bert_jax.data.text.source import NotFetched, Source, documents_of

Files = dict[pathlib.PurePath, list]  # [name, size, time], which identify the content of a file
JSON_LINES = ('.jsonl', '.json')  # C4's files are named .json.gz
SUFFIXES = ('.txt', *JSON_LINES)
COMPRESSED = 3  # an estimate of the characters in a byte of a compressed file
# The first tag of a text of WikiExtractor.
DOC = re.compile(r"""<doc( \w+=("[^"]*"|'[^']*'))+>""")
MAX_BYTES = 8 << 20  # longer lines and documents of text files are split, to fit in memory


def source(data: DataConfig, fetch: bool = True) -> Source:
    """The source that `config.data.corpus` names. Raises ValueError if it does not exist.

    With fetch=False nothing is written: files behind a URL are read without a local copy, and a
    dataset that TFDS has not prepared yet raises NotFetched.
    """
    kind, _, rest = data.corpus.partition(':')
    if data.corpus in ('builtin', 'builtin:prose'):
        return Source(builtin.prose, builtin.prose_identity())
    if data.corpus == 'builtin:code':
        size = sum(builtin.code_modules().values())
        return Source(builtin.code, {'python': sys.version}, size, size)
    if kind == 'text' and rest:
        return _files(rest, data, fetch)
    if kind == 'tfds' and rest:
        return tfds.source(rest, data, fetch)
    expected = (
        'text:FOLDER, text:GLOB, tfds:NAME[/CONFIG]:SPLIT, tokens:DIR, builtin (a little English '
        'prose) or builtin:code (a little Python code)'
    )
    if not data.corpus:
        raise ValueError(
            'config.data.corpus is empty: name the text to pretrain on, for example '
            f'--config.data.corpus=text:FOLDER. Expected {expected}'
        )
    raise ValueError(f'config.data.corpus is {data.corpus!r}; expected {expected}')


def eval_source(data: DataConfig, fetch: bool = True) -> Source | None:
    """The source that `config.data.eval_corpus` names, None if the key is empty. Raises ValueError
    as `source` does."""
    if not data.eval_corpus:
        return None
    try:
        return source(dataclasses.replace(data, corpus=data.eval_corpus), fetch)
    except NotFetched:
        raise
    except ValueError as error:
        raise ValueError(f'config.data.eval_corpus={data.eval_corpus}: {error}') from error


def _files(pattern: str, data: DataConfig, fetch: bool) -> Source:
    remote = files.is_remote(pattern)
    identity: Files = {}
    others: list[pathlib.Path] = []
    for part in patterns.alternatives(pattern):
        if remote:  # the URLs identify the files, and not the local copies
            identity |= {url: [str(url), *stat] for url, stat in staging.matching(part).items()}
        else:
            found, left_out = _local_files(os.path.expanduser(part))
            identity |= found
            others += left_out
    kept, links = ([*identity], []) if remote else patterns.once(identity)
    identity = {path: identity[path] for path in kept}
    for path in identity:
        if files.kind(path)[0] not in SUFFIXES:
            raise ValueError(
                f'{path}: expected a name that ends in {", ".join(SUFFIXES)}, with '
                f'{", ".join(files.COMPRESSIONS)} after it if it is compressed. Rename it if it '
                'holds such text (for example, wiki_00 of WikiExtractor --json is .jsonl), or '
                'convert it'
            )

    def read(summary: Summary) -> Iterator[Document]:
        decoder = files.Decoder(summary)
        if links:
            name = 'links to files that are read under another name, left out'
            summary.count(name, str(links[0]), len(links))
        if others:
            name = 'folders, and files of other kinds in folders, left out'
            summary.count(name, str(others[0]), len(others))
        for path in identity:
            summary.count('files')
            file = staging.local(path, staging.cache_of(data)) if remote and fetch else path
            if files.kind(path)[0] in JSON_LINES:
                rows = lines(file, str(path), -1, summary, decoder)
                documents, ends = _jsonl(path, rows, data.text_field, summary), ''
            else:
                rows, ends = lines(file, str(path), MAX_BYTES, summary, decoder), data.documents
                documents = _split(path, rows, ends, summary)
            yield from markup.counted(documents, str(path), summary, ends)
        decoder.finish()

    sizes = {path: size for path, (_, size, _) in identity.items()}
    estimates = [size * (COMPRESSED if files.kind(path)[1] else 1) for path, size in sizes.items()]
    return Source(read, list(identity.values()), sum(sizes.values()), sum(estimates))


def _local_files(pattern: str) -> tuple[Files, list[pathlib.Path]]:
    """The file of that name, the files below a folder of that name, or the files that match; and
    the paths that are left out: files of other kinds in the folder, or folders that match."""
    if os.path.isdir(pattern):
        below = sorted(_below(pattern))
        paths = [path for path in below if files.kind(path)[0] in SUFFIXES]
        kept = {*paths}
        others = [path for path in below if path not in kept and path.name[0] != '.']
    else:
        found = [pathlib.Path(name) for name in patterns.matching(pattern)]
        paths = [path for path in found if not path.is_dir()]
        others = [] if '**' in pattern else [path for path in found if path.is_dir()]
    if not paths:
        raise ValueError(_without_text(pattern, others))
    # A pattern with ** follows a link to its own folder until the path is too deep to be opened.
    paths = [p if p.is_file() else pathlib.Path(os.path.realpath(p.parent), p.name) for p in paths]
    for path in paths:
        if not path.is_file():
            raise ValueError(f'{path} is not a file, or a broken link; remove it or leave it out')
    stats = {path: path.stat() for path in paths}
    return {
        p: [str(p.resolve()), stat.st_size, stat.st_mtime_ns] for p, stat in stats.items()
    }, others


def _below(folder: str) -> Iterator[pathlib.Path]:
    """The files in a folder and in the folders below it. Raises ValueError if one of these folders
    cannot be read."""

    def refuse(error: OSError) -> NoReturn:
        raise ValueError(
            f'the folder {error.filename} cannot be read ({error.strerror}); give a folder that '
            'has only text, or a pattern of the files'
        ) from error

    for parent, _, names in os.walk(folder, onerror=refuse):
        yield from (pathlib.Path(parent, name) for name in names)


def _without_text(pattern: str, others: Sequence[pathlib.Path]) -> str:
    """The message for a pattern that names no file of text. others: the paths that it names."""
    kinds = f'{", ".join(SUFFIXES)} (also compressed)'
    if os.path.isdir(pattern):
        has = f'; it has other files, such as {others[0].name}' if others else '; it is empty'
        return f'the folder {pattern!r} has no file that ends in {kinds}{has}'
    if others:
        return f'{pattern!r} matches only folders, such as {others[0]}; give {pattern}/*.txt'
    advice = 'see config.data.corpus'
    if '$' in pattern:
        advice = 'the shell replaces $NAME only outside of single quotes'
    elif ',' in pattern:
        advice = 'braces list several files: text:{a,b}.txt'
    return f'no file matches {pattern!r} (from {pathlib.Path.cwd()}); {advice}'


def lines(
    path: pathlib.PurePath, name: str, longest: int, summary: Summary, decoder: files.Decoder
) -> Iterator[tuple[int, str]]:
    """Yields stripped lines with their numbers, in parts of at most `longest` bytes. name: the name
    of the file in messages."""
    before, has_text, rest = summary.passed, False, b''
    for number, content, is_end, passed in files.raw_lines(path, name, longest):
        where, part = f'{name}:{number}', rest + content
        end = len(part) if is_end else _cut(part)
        if not is_end:
            summary.count(f'lines cut after {longest:,} bytes', where)
        part, rest = part[:end], part[end:]
        summary.passed = before + passed
        text = decoder.decode(part, where).removeprefix('\ufeff').strip()
        has_text = has_text or bool(text)
        yield number, text
    if rest:
        yield number, decoder.decode(rest, where).strip()
    if not has_text:
        summary.count('empty files', name)


def _cut(part: bytes) -> int:
    """The index at which to cut a part of a long line: after its last space, or before its last
    character if it has no space."""
    end = part.rfind(b' ') + 1 or len(part)
    while end == len(part) or (end > 1 and part[end] & 0xC0 == 0x80):
        end -= 1
    return end or len(part)


def _split(
    path: pathlib.PurePath, lines: Iterator[tuple[int, str]], ends: str, summary: Summary
) -> Iterator[Document]:
    """The documents of a text file, without blank lines. ends: see config.data.documents. Raises
    ValueError if a line has the markup of WikiExtractor."""
    document: Document = []
    size = 0
    for number, line in lines:
        if line.startswith('<doc ') and DOC.match(line):
            raise ValueError(
                f'{path}:{number} is {line[:60]!r}, markup of WikiExtractor, which is not text; '
                'run it with --json, and give its files names that end in .jsonl'
            )
        is_end = (
            ends == 'line'
            or (ends == 'blank_line' and not line)
            or (ends == 'heading' and bool(markup.HEADING.fullmatch(line)))
        )
        if document and (size >= MAX_BYTES or is_end):
            if not is_end:
                summary.count(f'documents split after {size:,} characters', f'{path}:{number}')
            yield document
            document, size = [], 0
        if line:
            document.append(line)
            size += len(line)
    if document:
        yield document


def _jsonl(
    path: pathlib.PurePath, lines: Iterator[tuple[int, str]], field: str, summary: Summary
) -> Iterator[Document]:
    quoted = json.dumps(field)
    for number, line in lines:
        if not line:
            continue
        try:
            # `loads` refuses a field that occurs twice, but it is slower than json.loads.
            record = (loads if line.count(quoted) > 1 else json.loads)(line)
        except (ValueError, RecursionError) as error:
            remedy = ''
            if number == 1 and line in ('{', '['):
                remedy = ', and not one value over several lines'
            raise ValueError(
                f'{path}:{number} is not JSON ({error}); expected an object on each line{remedy}'
            ) from error
        where = f'{path}:{number}'
        if not isinstance(record, dict):
            raise ValueError(
                f'{where} is {short(record)}; expected an object on each line, with its text in '
                f'{field!r} (config.data.text_field)'
            )
        if field not in record:
            raise ValueError(
                f'{where} has no field {field!r}, it has {[*record]}; set config.data.text_field'
            )
        if not isinstance(record[field], str):
            raise ValueError(
                f'{where} has {short(record[field])} in {field!r}; expected a string. Remove the '
                'line, or set config.data.text_field'
            )
        yield from documents_of(_encodable(record[field], where, summary), where, summary)


def _encodable(text: str, where: str, summary: Summary) -> str:
    """The text with U+FFFD for halves of surrogate pairs, which JSON allows but UTF-8 does not."""
    if text.isascii() or not any('\ud800' <= char <= '\udfff' for char in text):
        return text
    summary.count('records with lone surrogates, replaced', where)
    return text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')
