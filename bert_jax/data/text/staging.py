"""Local copies of files behind a URL: gs:// and the other kinds that etils.epath reads.

A copy is made once. Its folder in the cache is named by a hash of the files' URLs, sizes and times.
"""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from etils import epath

from bert_jax.config import DataConfig
from bert_jax.config.build_once import build_once
from bert_jax.config.console import say
from bert_jax.config.environment import user_cache
from bert_jax.config.errors import first_line, unknown_url
from bert_jax.config.files import is_remote
from bert_jax.data import patterns
from bert_jax.data.labelled.file_lists import KEYS
from bert_jax.data.tokenizers import tokenizer

# The fields of DataConfig that may be URLs, except lists of files, and the files that are copied if
# such a field is a folder.
STAGED: dict = {'vocab_file': tokenizer.FILES, 'dir': ('*.tsv', '*/*.tsv')}
# Errors for which a retry does not help: no such file, no permission, an unknown kind of URL. They
# become ValueErrors. The error types of TensorFlow and of the clouds' libraries are given by name,
# because importing them takes seconds. HTTP errors are recognized by their code.
MISTAKES = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError),
    *(ValueError, KeyError, NotImplementedError, ImportError),
)
MISTAKES_BY_NAME = (
    *('NotFoundError', 'PermissionDeniedError', 'UnauthenticatedError', 'UnimplementedError'),
    *('InvalidArgumentError', 'DefaultCredentialsError', 'NoCredentialsError'),
)
HTTP_MISTAKES = ('401', '403', '404')
Stats = dict[epath.Path, tuple[int, int]]  # files: (bytes, time in seconds or 0 if unknown)


def cache_of(data: DataConfig) -> pathlib.Path:
    """The folder of copies and prepared stores. Raises ValueError for a URL."""
    if is_remote(data.cache_dir):
        raise ValueError(f'config.data.cache_dir={data.cache_dir} has to be a local folder')
    return pathlib.Path(data.cache_dir).expanduser() if data.cache_dir else user_cache()


def localized(data: DataConfig) -> DataConfig:
    """`data` with the paths of local copies instead of URLs. Raises ValueError as `local` does."""
    urls = {name: getattr(data, name) for name in STAGED if is_remote(getattr(data, name))}
    cache = cache_of(data)
    paths: dict = {n: str(local(url, cache, STAGED[n])) for n, url in urls.items()}
    lists = {name: getattr(data, name) for name in KEYS if is_remote(getattr(data, name))}
    paths |= {name: ','.join(_local_list(value, cache)) for name, value in lists.items()}
    return dataclasses.replace(data, **paths)


def _local_list(value: str, cache: pathlib.Path) -> Iterator[str]:
    """The paths and patterns of a list with commas, with the local copies of URLs."""
    with explained(value):
        is_one = ',' not in value or (value.count('://') == 1 and epath.Path(value).exists())
    for part in [value] if is_one else patterns.split(value):
        wild = is_remote(part) and patterns.WILD.search(part)
        for url in matching(part) if wild else [part]:
            yield str(local(url, cache)) if is_remote(url) else str(url)


def local(url: epath.PathLike, cache: pathlib.Path, patterns: Sequence[str] = ()) -> pathlib.Path:
    """The path of a local copy of a file, or of the files of a folder that match `patterns`.

    The copy is made if it does not exist. If `url` is a local path, it is returned. Raises
    ValueError if there are no such files, or if they cannot be read.
    """
    if not is_remote(url):
        return pathlib.Path(url)
    with explained(url):
        source = epath.Path(url)
        files = _stats([f for p in patterns for f in source.glob(p)] or [source])
    if not files:
        raise ValueError(f'{url} is a folder; expected {" or ".join(patterns) or "a file"}')
    state = json.dumps([[str(file), *stat] for file, stat in files.items()]).encode()
    output = cache / 'staged' / hashlib.sha256(state).hexdigest()[:16]

    def copy(folder: pathlib.Path) -> None:
        say(f'copying {url} to {output}')
        for file, (length, _) in files.items():
            target = folder / source.name / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            with explained(file):
                file.copy(target)
            if target.stat().st_size != length:
                raise ValueError(f'{file} changed while it was copied; start again')

    build_once(output, copy, f'copying {url}', output.exists)
    return output / source.name


def matching(url: str) -> Stats:
    """The file of that name, the files in a folder of that name, or the files that match `url` as
    a pattern. Raises ValueError if there are none, or if they cannot be read."""
    scheme, _, rest = url.partition('://')
    bucket, _, pattern = rest.partition('/')
    with explained(url):
        exact = epath.Path(url)
        if exact.exists():
            paths = exact.iterdir() if exact.is_dir() else [exact]
        else:
            paths = epath.Path(f'{scheme}://{bucket}').glob(pattern)
        if files := _stats(paths):
            return files
    raise ValueError(f'no file matches {url!r}')


def _stats(paths: Iterable[epath.Path]) -> Stats:
    """The size and time of each path that is a file, in the order of the names."""
    ordered = sorted(set(paths))
    with ThreadPoolExecutor(16) as pool:  # a corpus may have thousands of files
        stats = zip(ordered, pool.map(lambda path: path.stat(), ordered), strict=True)
        return {path: (stat.length, stat.mtime) for path, stat in stats if not stat.is_directory}


@contextlib.contextmanager
def explained(path: epath.PathLike) -> Iterator[None]:
    """Adds the path to the errors of the block. Those for which a retry does not help become
    ValueErrors."""
    try:
        yield
    except Exception as error:  # each file system has its own types
        mistake = isinstance(error, MISTAKES) or type(error).__name__ in MISTAKES_BY_NAME
        if not mistake and str(getattr(error, 'code', '')) not in HTTP_MISTAKES:
            error.add_note(f'while reading {path}')
            raise
        if line := unknown_url(error):
            raise ValueError(f'{path} cannot be read: {line}') from error
        why = f'{type(error).__name__}: {first_line(error)}'
        raise ValueError(f'{path} cannot be read ({why})') from error
