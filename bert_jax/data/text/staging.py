"""Copies of files behind a URL (gs:// and what else etils.epath reads) on this machine's disk.

A copy is made once. It is in the cache, under a hash of the URLs, sizes and times of its files.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from etils import epath

from bert_jax.config import DataConfig
from bert_jax.data import progress
from bert_jax.data.build_once import build_once
from bert_jax.data.files import is_remote
from bert_jax.data.tokenizers import tokenizer

# The fields of DataConfig that may be URLs, and the files that are copied if it is a folder.
STAGED: dict = dict.fromkeys(('train_file', 'eval_file', 'test_file'), ())
STAGED |= {'vocab_file': tokenizer.FILES, 'dir': ('*.tsv', '*/*.tsv')}
# Errors that stay if one tries again: no such file, no permission, an unknown kind of URL. Other
# errors of storage are passed on. The types of TensorFlow and of the clouds are known by name here,
# because their import takes seconds, and those of HTTP by number.
MISTAKES = (
    *(FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError),
    *(ValueError, KeyError, NotImplementedError, ImportError),
)
MISTAKES_BY_NAME = (
    *('NotFoundError', 'PermissionDeniedError', 'UnauthenticatedError', 'UnimplementedError'),
    *('InvalidArgumentError', 'DefaultCredentialsError', 'NoCredentialsError'),
)
Stats = dict[epath.Path, tuple[int, int]]  # of files: bytes, and seconds (0 if unknown)


def cache_of(data: DataConfig) -> pathlib.Path:
    """The folder of copies and prepared stores."""
    default = pathlib.Path(os.environ.get('XDG_CACHE_HOME') or '~/.cache') / 'bert_jax'
    return pathlib.Path(data.cache_dir or default).expanduser()


def localized(data: DataConfig) -> DataConfig:
    """The same with paths of local copies instead of URLs. Raises ValueError as `local` does."""
    urls = {name: getattr(data, name) for name in STAGED if is_remote(getattr(data, name))}
    paths: dict = {n: str(local(url, cache_of(data), STAGED[n])) for n, url in urls.items()}
    return dataclasses.replace(data, **paths)


def local(url: epath.PathLike, cache: pathlib.Path, patterns: Sequence[str] = ()) -> pathlib.Path:
    """The path of a local copy of a URL, which is made if it is not there; a path stays as it is.

    A file is copied, or the files of a folder that match `patterns`. Raises ValueError if there are
    none, or if they cannot be read.
    """
    if not is_remote(url):
        return pathlib.Path(url)
    with _named(url):
        source = epath.Path(url)
        files = _stats([f for p in patterns for f in source.glob(p)] or [source])
    if not files:
        raise ValueError(f'{url} is a folder; expected {" or ".join(patterns) or "a file"}')
    state = json.dumps([[str(file), *stat] for file, stat in files.items()]).encode()
    output = cache / 'staged' / hashlib.sha256(state).hexdigest()[:16]

    def copy(folder: pathlib.Path) -> None:
        progress.say(f'copying {url} to {output}')
        for file, (length, _) in files.items():
            target = folder / source.name / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            with _named(file):
                file.copy(target)
            if target.stat().st_size != length:
                raise ValueError(f'{file} changed while it was copied; start again')

    build_once(output, copy, f'copying {url}', output.exists)
    return output / source.name


def matching(url: str) -> Stats:
    """The file of that name, the files in a folder of that name, or those that match `url`, in
    which `*` is any name. Raises ValueError if there are none,
    or if they cannot be read."""
    scheme, _, rest = url.partition('://')
    bucket, _, pattern = rest.partition('/')
    with _named(url):
        exact = epath.Path(url)
        if exact.exists():
            paths = exact.iterdir() if exact.is_dir() else [exact]
        else:
            paths = epath.Path(f'{scheme}://{bucket}').glob(pattern)
        if files := _stats(paths):
            return files
    raise ValueError(f'no file matches {url!r}; see config.data.corpus')


def _stats(paths: Iterable[epath.Path]) -> Stats:
    """The size and time of each path that is a file, in the order of the names."""
    ordered = sorted(set(paths))
    with ThreadPoolExecutor(16) as pool:  # a corpus may have thousands of files
        stats = zip(ordered, pool.map(lambda path: path.stat(), ordered), strict=True)
        return {path: (stat.length, stat.mtime) for path, stat in stats if not stat.is_directory}


@contextlib.contextmanager
def _named(path: epath.PathLike) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # each file system has its own
        mistake = isinstance(error, MISTAKES) or type(error).__name__ in MISTAKES_BY_NAME
        if not mistake and str(getattr(error, 'code', '')) not in ('401', '403', '404'):
            error.add_note(f'while reading {path}')
            raise
        why = f'{type(error).__name__}: {error}'.partition('\n')[0]
        raise ValueError(f'{path} can not be read ({why})') from error
