"""Libraries (TensorFlow, libtpu, absl, Orbax, matplotlib) print no line in a command's output."""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest
import small_run
from tiny_model import ROOT

pytestmark = pytest.mark.slow
# The forms of the log lines of absl, glog, Python's logging and warnings, and names of libraries.
FOREIGN = re.compile(
    r'^[IWEF]\d{4} |^\d{4}-\d\d-\d\d \d|\.cc:\d|\.py:\d+: |^(INFO|WARNING|ERROR|DEBUG):|Warning:'
    r'|oneDNN|tensorflow|libtpu|TPU_|absl|orbax|_METADATA|fontManager|jax\._src',
    re.IGNORECASE | re.MULTILINE,
)
# A user's environment has none of these variables, which the tests set. Two are set again below.
SET_BY_TESTS = ('JAX_', 'TF_', 'TPU_', 'XLA_', 'PYTHONWARNINGS')
LOAD = (
    'import sys; from bert_jax import predict\n'
    "bert = predict.load(sys.argv[1]); print(len(bert.fill_mask(['[MASK]'])))"
)


@pytest.fixture(scope='module', params=['with libtpu', 'without libtpu'])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a user, with libtpu or as if it were not installed."""
    there = importlib.util.find_spec('libtpu') is not None
    if request.param == 'with libtpu' and not there:
        pytest.skip('libtpu is not installed')
    values = {k: v for k, v in os.environ.items() if not k.startswith(SET_BY_TESTS)}
    hidden = tmp_path_factory.mktemp('hidden')
    if request.param == 'without libtpu':
        (hidden / 'sitecustomize.py').write_text("import sys\nsys.modules['libtpu'] = None\n")
    caches = {'XDG_CACHE_HOME': str(hidden / 'cache'), 'MPLCONFIGDIR': str(hidden / 'fonts')}
    # Little optimization changes no line of the output.
    compiler = {'XLA_FLAGS': small_run.xla_flags(1), 'JAX_DISABLE_MOST_OPTIMIZATIONS': '1'}
    return values | caches | compiler | {'PYTHONPATH': f'{hidden}:{ROOT}'}


@pytest.mark.parametrize(
    'line',
    [
        '2026-11-29 22:41:03.1 I tensorflow/core/util/port.cc:153] oneDNN custom operations are on',
        'WARNING: Logging before InitGoogle() is written to STDERR',
        'E0000 00:00:1796012279.3  568 common_lib.cc:554] INVALID_ARGUMENT: Error',
        'WARNING:absl:Metadata file does not exist: /run/checkpoints/2/state/_CHECKPOINT_METADATA',
        'I1129 22:51:00.1 140 font_manager.py:1848] generated new fontManager',
        'x.py:3: UserWarning: Error reading persistent compilation cache entry',
    ],
)
def test_lines_of_libraries_are_recognised(line: str) -> None:
    assert FOREIGN.search(f'ok\n{line}\nok')


def test_no_line_is_of_a_library(environment: dict[str, str], tmp_path: pathlib.Path) -> None:
    """This includes a run that finds compiled programs of an earlier run in the cache."""
    pytest.importorskip('matplotlib')
    small_run.write_corpus(tmp_path)
    run, twice = tmp_path / 'run', tmp_path / 'twice'
    short = {'train__num_steps': 2, 'train__phases': '((4,32,8,5),)', 'optim__warmup_steps': 0}
    python = [sys.executable, '-m']
    corpus = f'--input={tmp_path / "corpus.txt"}'
    done = {
        'train': small_run.command(tmp_path, run, **short),
        'train again': small_run.command(tmp_path, twice, **short),
        'load': [sys.executable, '-c', LOAD, str(run)],
        'plot': [*python, 'bert_jax', 'plot', f'--workdir={run}', f'--output={tmp_path}/c.png'],
        'prepare': [*python, 'bert_jax.data.prepare', corpus, f'--output={tmp_path}/tokens'],
    }
    hidden = pathlib.Path(environment['PYTHONPATH'].partition(':')[0])
    if (hidden / 'sitecustomize.py').exists():
        done = {'train': done['train']}  # libtpu makes no other difference
    for name, command in done.items():
        answer = subprocess.run(
            command,
            env=environment,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            text=True,
            timeout=300,
        )
        assert answer.returncode == 0, answer.stdout
        assert not FOREIGN.search(answer.stdout), f'{name}:\n{answer.stdout}'
    cache = pathlib.Path(environment['XDG_CACHE_HOME']) / 'bert_jax' / 'xla'
    assert any(cache.glob('jit_*-cache')), 'nothing was cached'
    if twice.exists():  # the first run compiled what the second one found in the cache
        assert small_run.same_bits(run, twice, 2) > 30
