"""Environment variables that the libraries read when they are imported.

A command calls `prepare` before it imports JAX or TensorFlow. A value that the user has set stays.
"""

import glob
import os
import pathlib
import tempfile
import warnings
from typing import Any

from bert_jax.config.console import say
from bert_jax.config.errors import first_line

QUIET = {
    'TF_CPP_MIN_LOG_LEVEL': '2',
    'TF_ENABLE_ONEDNN_OPTS': '0',  # only tf.data is used; oneDNN would log four lines
    'TF_USE_LEGACY_KERAS': '1',  # importing Keras 3 takes seconds
}
# If libtpu is installed, it looks for a TPU and logs errors, unless these variables are set.
WITHOUT_TPU = {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-16',  # any name works
    'TPU_LOG_DIR': 'disabled',
    'TPU_STDERR_LOG_LEVEL': '3',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}
COMPILED, ENABLED = 'JAX_COMPILATION_CACHE_DIR', 'JAX_ENABLE_COMPILATION_CACHE'
GOOGLE, NETWORK = '0x1ae0', '0x02'  # a vendor of PCI devices; the class of its network cards


def set_defaults(values: dict[str, str]) -> None:
    """Sets the environment variables that are not set."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def prepare(name: str) -> None:
    """Silences libraries, and turns JAX's compilation cache on. name: the command, for messages."""

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        line = first_line(message if isinstance(message, Warning) else Warning(message))
        if 'compilation cache' in line:
            line += f'. It is compiled again. To empty the cache: rm -r {os.environ.get(COMPILED)}'
        say(f'{name}: warning: {line}')

    warnings.showwarning = show
    silence()
    use_compilation_cache(name)


def silence() -> None:
    """Silences TensorFlow, if it is not imported yet, and libtpu, if JAX has no devices yet."""
    set_defaults(QUIET)
    if not has_tpu():
        set_defaults(WITHOUT_TPU)


def has_tpu() -> bool:
    """Returns whether this machine seems to have a TPU."""
    if glob.glob('/dev/accel*') or glob.glob('/dev/vfio/[0-9]*'):
        return True
    for vendor in pathlib.Path('/sys/bus/pci/devices').glob('*/vendor'):
        if vendor.read_text().strip() == GOOGLE:
            kind = vendor.with_name('class').read_text()
            if not kind.startswith(NETWORK):
                return True
    return False


def user_cache() -> pathlib.Path:
    """The folder for everything that bert_jax caches: $XDG_CACHE_HOME/bert_jax."""
    folder = os.environ.get('XDG_CACHE_HOME') or '~/.cache'
    return pathlib.Path(folder).expanduser() / 'bert_jax'


def use_compilation_cache(name: str) -> None:
    """Makes JAX keep compiled programs in the user's cache, so that the next process finds them.

    JAX_COMPILATION_CACHE_DIR names another folder; if it is empty, or if
    JAX_ENABLE_COMPILATION_CACHE is false, nothing is cached. If the folder cannot be written to, a
    line says so, and nothing is cached.
    """
    if COMPILED in os.environ or os.environ.get(ENABLED, '').lower() in ('false', '0'):
        return
    folder = user_cache() / 'xla'
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        say(f'{name}: no cache for compiled programs, because {folder}: {error.strerror}')
        return
    os.environ[COMPILED] = str(folder)
    # Compiling one small program takes less than JAX's default of 1 s, but there are many of them.
    os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.2')
