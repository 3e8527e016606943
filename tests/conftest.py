"""Fixtures shared by the tests: where real data is, and eight CPU devices for sharding tests."""

import copy
import functools
import importlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

import launch_checkout
import pytest
import small_run

os.environ.setdefault('XLA_FLAGS', small_run.xla_flags(8))
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # as main has it
# Compilation takes most of the time of the tests. So programs are optimized less, and the processes
# of a run share what they compile.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
COMPILED = 'JAX_COMPILATION_CACHE_DIR'
OWN_CACHE = pytest.StashKey[bool]()  # whether the cache was made for these tests alone
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput'):
        config.stash[OWN_CACHE] = COMPILED not in os.environ
        if config.stash[OWN_CACHE]:
            os.environ[COMPILED] = tempfile.mkdtemp(prefix='bert_jax_compiled_')


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput') and config.stash[OWN_CACHE]:
        shutil.rmtree(os.environ[COMPILED], ignore_errors=True)


@pytest.fixture(scope='session')
def shared_data() -> Callable[[str], pathlib.Path]:
    """Looks a path up in the folder of real data; skips the test where it is absent."""
    folder = pathlib.Path(os.environ.get('BERT_JAX_DATA', ROOT.parent / 'shared' / 'data'))

    def look_up(relative: str) -> pathlib.Path:
        path = folder / relative
        if not path.exists():
            pytest.skip(
                f'{relative} is not in the folder of real data (set BERT_JAX_DATA): {folder}'
            )
        return path

    return look_up


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> launch_checkout.Checkout:
    """Returns a checkout; programs replace gcloud, the commands of Slurm, and Python."""
    return launch_checkout.Checkout(tmp_path)


@pytest.fixture
def one_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs have one device, as a laptop has: programs for eight take much longer to compile."""
    import jax

    one = jax.devices()[:1]
    monkeypatch.setattr(jax, 'devices', lambda *_: one)


@pytest.fixture
def look(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, str]]:
    """Returns small_look.look for a folder with a corpus and a vocabulary."""
    import small_look

    monkeypatch.chdir(tmp_path)
    small_look.small_run.write_corpus(tmp_path)
    return functools.partial(small_look.look, capsys)


@pytest.fixture
def run_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command with flags of its own in this process: its exit code, stdout and stderr."""
    from bert_jax.config import command_line

    def run(name: str, *arguments: str) -> tuple[int, str, str]:
        module = importlib.import_module(f'bert_jax.{name}')
        with monkeypatch.context() as patch:
            patch.setattr(module, 'FLAGS', copy.deepcopy(module.FLAGS))
            code = command_line.run(name, module.main, [name, *arguments], module.FLAGS)
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def run_predict(
    run_command: Callable[..., tuple[int, str, str]],
) -> Callable[..., tuple[int, str, str]]:
    return functools.partial(run_command, 'predict')


@pytest.fixture(scope='session')
def word_folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Returns the folder of a model with four words."""
    import word_model

    return word_model.save_word_model(tmp_path_factory.mktemp('words') / 'model')


@pytest.fixture
def bert(word_folder: pathlib.Path) -> Any:
    """Returns the model of `word_folder`."""
    from bert_jax import predict

    return predict.load(word_folder)


@pytest.fixture
def bucket(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """The folder that s3://bucket is in this test: epath asks fsspec, and fsspec looks there."""
    from etils.epath import backend, gpath
    from fsspec.implementations.dirfs import DirFileSystem
    from fsspec.implementations.local import LocalFileSystem

    class Bucket(DirFileSystem):
        def _join(self, path: Any) -> Any:
            return super()._join(path.removeprefix('s3://'))

    here = LocalFileSystem()
    there = Bucket(str(tmp_path / 's3'), here)
    monkeypatch.setattr(gpath, '_is_tf_installed', lambda: False)  # which would read URLs itself
    monkeypatch.setattr(
        type(backend.fsspec_backend),
        'fs',
        lambda self, path: there if str(path).startswith('s3://') else here,
    )
    (tmp_path / 's3' / 'bucket').mkdir(parents=True)
    return tmp_path / 's3' / 'bucket'


@pytest.fixture(scope='session')
def four() -> list[Any]:
    """The devices of a v5e-4 that the TPU's compiler compiles for; skips where there is none."""
    pytest.importorskip('libtpu')
    from bert_jax.performance import topologies

    return topologies.devices(topologies.parse('v5e-4'))
