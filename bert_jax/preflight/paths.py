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
from bert_jax.convert import hub
from bert_jax.data.text import languages, readers

FILES = ('data.vocab_file', 'data.train_file', 'data.eval_file', 'data.test_file', 'data.dir')
CHECKPOINTS = ('init_from', 'init_decoder_from', 'distill.teacher')
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


def problems(config: Config, workdir: epath.Path) -> list[str]:
    """A message for each path of the configuration that cannot be used; none if all exist."""
    found = list(_checkpoints(config, workdir))
    for key in FILES:
        path = keys.get(config, key)
        if path and '://' not in path and path != 'tfds' and not _exists(path):
            found.append(f'config.{key}={path} does not exist{_here(path)}')
    # A run that continues may find the store of a corpus that is gone.
    if config.kind == 'pretraining' and not _is_started(workdir):
        found += _corpora(config)
    return found


def check(config: Config, workdir: epath.Path) -> None:
    """Raises ValueError with all messages of `problems`."""
    if found := problems(config, workdir):
        raise ValueError('; '.join(found))


def print_check(mark: str, name: str, line: str) -> None:
    """Prints the outcome of a check on stdout. mark: 'ok', 'skip' or 'FAIL'."""
    text = f'{mark:<6}{name:<12}{" ".join(line.split())}'
    print(fitted(text, sys.stdout, indent=18), flush=True)


def _checkpoints(config: Config, workdir: epath.Path) -> Iterator[str]:
    for key in CHECKPOINTS:
        path = keys.get(config, key)
        if not path or '://' in path or hub.is_name(path):
            continue
        if key == 'init_from' and config.kind == 'pretraining' and _is_started(workdir):
            continue  # the run continues and does not read it
        folder = pathlib.Path(path).expanduser()
        if not folder.is_dir():
            wrong = 'is not a folder' if folder.exists() else f'does not exist{_here(path)}'
        elif not any((folder / mark).exists() for mark in MARKS):
            below = [str(found.parent) for found in sorted(folder.glob('*/config.json'))]
            wrong = 'has no config.json'
            wrong += f', but its folders have: {", ".join(below)}' if below else ''
        elif not _is_json(folder / 'config.json'):
            wrong = 'has a config.json that cannot be read'
        else:
            continue
        yield (
            f'config.{key}={path} {wrong}; give a workdir, a folder written by bert_jax convert, '
            'the folder of a Hugging Face checkpoint, or a name on the Hugging Face Hub'
        )


def _corpora(config: Config) -> Iterator[str]:
    """A message for each corpus without files. TFDS is not checked, because that takes time."""
    data = config.data
    sources = (data.corpus, languages.source), (data.eval_corpus, readers.eval_source)
    for corpus, source in sources:
        folder = corpus.removeprefix('tokens:')
        if '://' in corpus or 'tfds:' in corpus:
            continue
        try:
            if corpus == folder:
                source(data, fetch=False)
            elif not (pathlib.Path(folder) / 'store.json').exists():
                yield (
                    f'config.data.corpus={corpus}: {folder} is not a prepared store (it has no '
                    f'store.json){_here(folder)}; make one with bert_jax prepare'
                )
        except (ValueError, OSError) as error:
            yield str(error)


def _exists(path: str) -> bool:
    return pathlib.Path(path).expanduser().exists()


def _here(path: str) -> str:
    """The folder in which a relative path was looked for; '' for an absolute path."""
    return '' if pathlib.Path(path).expanduser().is_absolute() else f' (from {pathlib.Path.cwd()})'


def _is_started(workdir: epath.Path) -> bool:
    return any((workdir / 'checkpoints').glob('*'))


def _is_json(path: pathlib.Path) -> bool:
    try:
        return not path.exists() or isinstance(json.loads(path.read_text()), dict)
    except (ValueError, OSError):
        return False
