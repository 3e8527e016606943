"""Checks that the files and folders of a configuration exist, before anything that takes time.

Only names of files are read, and the `config.json` of a checkpoint. Files behind URLs and models of
the Hugging Face Hub are checked later.
"""

import json
import pathlib
import sys
from collections.abc import Iterator

from etils import epath

from bert_jax.config import Config, keys
from bert_jax.config.console import fitted
from bert_jax.config.files import is_remote
from bert_jax.convert import hub
from bert_jax.data.labelled import file_lists
from bert_jax.data.store.format import read_meta
from bert_jax.data.text import languages, readers, staging
from bert_jax.training import run_folders

FILES = ('data.vocab_file', 'data.dir')
STARTS = ('init_from', 'init_decoder_from')  # a run that continues does not need them
CHECKPOINTS = (*STARTS, 'distill.teacher')
# The folder of a checkpoint has one of these. They belong to bert_jax or Hugging Face, to
# TensorFlow 1, to sentence-transformers, to peft, to a workdir without its configuration, and to
# one checkpoint of a workdir.
MARKS = (
    'config.json',
    'bert_config.json',
    'albert_config.json',
    'xlnet_config.json',
    'modules.json',
    'adapter_config.json',
    'checkpoints',
    'state',
)


def problems(config: Config, workdir: epath.Path, start_over: bool = False) -> list[str]:
    """A message for each path of the configuration that cannot be used; none if all exist.
    start_over: if true, the runs in the workdir do not continue."""
    found = list(_checkpoints(config, None if start_over else workdir))
    for key in FILES:
        path = keys.get(config, key)
        if path in ('', 'tfds') or is_remote(path) or pathlib.Path(path).expanduser().exists():
            continue
        found.append(f'config.{key}={path} does not exist{_here(path)}')
    for key in file_lists.KEYS:
        value = getattr(config.data, key)
        try:
            file_lists.paths('' if '://' in value else value, f'config.data.{key}')
        except ValueError as error:
            found.append(str(error))
    # A run that continues may find the store of a corpus that is gone.
    begins = start_over or bool(run_folders.not_begun(config, workdir))
    if config.kind == 'pretraining' and begins:
        found += _corpora(config)
    return found


def check(config: Config, workdir: epath.Path, start_over: bool = False) -> None:
    """Raises ValueError with all messages of `problems`."""
    if found := problems(config, workdir, start_over):
        raise ValueError('; '.join(found))


def print_check(mark: str, name: str, line: str) -> None:
    """Prints the outcome of a check on stdout. mark: 'ok', 'skip' or 'FAIL'."""
    text = f'{mark:<6}{name:<12}{" ".join(line.split())}'
    print(fitted(text, sys.stdout, indent=18), flush=True)


def _checkpoints(config: Config, workdir: epath.Path | None) -> Iterator[str]:
    """A message for each checkpoint. workdir: that of runs that may continue, or None."""
    for key in CHECKPOINTS:
        path, needed = keys.get(config, key), ''
        if not path or '://' in path or hub.is_name(path) or not (wrong := problem_of(path)):
            continue
        if key in STARTS and workdir is not None:
            if not (not_begun := run_folders.not_begun(config, workdir)):
                continue  # the runs continue and do not need it
            if len(not_begun) < len(run_folders.of_runs(config, workdir)):
                folders = ', '.join(map(str, not_begun))
                needed = f', and it is needed in {folders}, where no run has begun'
        yield (
            f'config.{key}={path} {wrong}{needed}; give a workdir, a folder written by '
            'bert_jax convert, the folder of a Hugging Face checkpoint, or a name on the Hugging '
            'Face Hub'
        )


def problem_of(path: str) -> str:
    """Returns why the folder `path` is not that of a checkpoint; '' if it may be one, or if `path`
    is empty."""
    if not path:
        return ''
    if is_remote(path):
        with staging.explained(path):
            return '' if (epath.Path(path) / 'config.json').exists() else 'has no config.json'
    folder = pathlib.Path(path).expanduser()
    if not folder.is_dir():
        return 'is not a folder' if folder.exists() else f'does not exist{_here(path)}'
    if not any((folder / mark).exists() for mark in MARKS):
        below = [str(found.parent) for found in sorted(folder.glob('*/config.json'))]
        others = f', but its folders have: {", ".join(below)}' if below else ''
        return f'has no config.json{others}'
    return '' if _is_json(folder / 'config.json') else 'has a config.json that cannot be read'


def _corpora(config: Config) -> Iterator[str]:
    """A message for each corpus without files. TFDS is not checked, because that takes time."""
    data = config.data
    sources = (data.corpus, languages.source), (data.eval_corpus, readers.eval_source)
    for corpus, source in sources:
        if '://' in corpus or 'tfds:' in corpus:
            continue
        try:
            if corpus.startswith('tokens:'):
                read_meta(corpus.removeprefix('tokens:'))
            else:
                source(data, fetch=False)
        except (ValueError, OSError) as error:
            store = corpus.removeprefix('tokens:')
            named = f'config.data.corpus={corpus}{_here(store)}: ' if store != corpus else ''
            yield f'{named}{error}'


def _here(path: str) -> str:
    """The folder in which a relative path was looked for; '' for an absolute path."""
    return '' if pathlib.Path(path).expanduser().is_absolute() else f' (from {pathlib.Path.cwd()})'


def _is_json(path: pathlib.Path) -> bool:
    try:
        return not path.exists() or isinstance(json.loads(path.read_text()), dict)
    except (ValueError, OSError):
        return False
