"""Fixtures shared by the tests: where real data is, and eight CPU devices for sharding tests."""

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import pytest

os.environ.setdefault('XLA_FLAGS', '--xla_force_host_platform_device_count=8')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')  # as main has it
# Most of the tests' time is compiling: less is optimised, and every process of a run finds what
# another has compiled.
os.environ.setdefault('JAX_DISABLE_MOST_OPTIMIZATIONS', '1')
COMPILED = 'JAX_COMPILATION_CACHE_DIR'
os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0'

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput'):
        os.environ[COMPILED] = tempfile.mkdtemp(prefix='bert_jax_compiled_')


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, 'workerinput'):
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
